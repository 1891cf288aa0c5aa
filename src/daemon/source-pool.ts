/**
 * The open source sides of a volume: one state for each view that its links compare in, shared by those of one view.
 *
 * What a target holds is known only once it has answered. It is remembered, so that the next run begins with the right
 * view; a link alone takes its state along into another view, one of several gets a state of its own. Invariant: a
 * state is in one view at a time, that of all links that use it.
 */
import {endAll, endTogether} from '../base/end-all.ts';
import {messageOf} from '../base/errors.ts';
import type {VolumeConfig} from '../config/agent-config.ts';
import {DEFAULTS} from '../config/link-settings.ts';
import {narrowedView, sameView, viewDigest, type View, type ViewLimits} from '../model/view.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import {assumedHeld} from '../volume/probe-holds.ts';
import type {AgentParts, FoundRoot} from './agent-parts.ts';
import {holdingOf, offeredView} from './own-limits.ts';
import type {SendLink} from './send-link.ts';
import {SourceVolume} from './source-volume.ts';
import {whenAborted} from './volume-sides.ts';

export interface SourcePoolOptions {
  config: VolumeConfig;
  /** Of the volume. */
  notes: LinkNotes;
  found: FoundRoot;
  chokidarEntries: number;
  reserve: number;
  onNotice: (message: string) => void;
}

interface Slot {
  source: SourceVolume;
  folder: string;
  users: Set<SendLink>;
  over: AbortController;
  ran: Promise<void>;
}

const FOLDER = /^source(-[0-9a-f]{12})?$/;
const KEY_CHARS = 12;

export class SourcePool {
  readonly #options: SourcePoolOptions;
  readonly #parts: AgentParts;
  readonly #sends: readonly SendLink[];
  readonly #slots: Slot[] = [];
  /** Those that nobody uses any more, until they are closed. */
  readonly #retiring = new Map<string, Promise<void>>();
  readonly #failed = Promise.withResolvers<never>();
  #signal: AbortSignal | undefined;

  /** @throws TowlineError as `openState`; nothing stays open then */
  constructor(options: SourcePoolOptions, sends: readonly SendLink[], parts: AgentParts) {
    this.#options = options;
    this.#sends = sends;
    this.#parts = parts;
    this.#failed.promise.catch(() => undefined);
    try {
      for (const send of sends) this.#slotFor(send, this.#expectedView(send)).users.add(send);
    } catch (error) {
      const ends = this.#slots.flatMap(({source}) => [() => source.stop(), () => source.close()]);
      endAll(ends).catch((problem: unknown) => parts.log.error(messageOf(problem), {volume: options.config.name}));
      throw error;
    }
  }

  get first(): SourceVolume | undefined {
    return this.#slots[0]?.source;
  }

  /** The source that a link uses now. */
  sourceOf(send: SendLink): SourceVolume | undefined {
    return this.#slotOf(send)?.source;
  }

  /** Until the signal is aborted. @throws HALTED and whatever else keeps the volume from being read */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const slot of this.#slots) this.#start(slot, signal);
    await Promise.race([this.#failed.promise, whenAborted(signal)]);
    await Promise.allSettled(this.#slots.map(({ran}) => ran));
  }

  /**
   * A target has told what it holds. @param view that both ends compare in from now on
   * @returns the source in that view, which is another one when other links use the present one
   */
  settle(send: SendLink, view: View, limits: ViewLimits): SourceVolume {
    const slot = this.#slotOf(send) as Slot;
    if (!sameView(slot.source.view, view)) {
      const isShared = slot.users.size > 1;
      const isThere = this.#slots.some(({source}) => sameView(source.view, view));
      if (isShared || isThere) {
        const next = this.#slotFor(send, view);
        slot.users.delete(send);
        next.users.add(send);
        if (slot.users.size === 0) this.#retire(slot);
      } else slot.source.adopt(view);
    }
    const settled = this.#slotOf(send) as Slot;
    send.notes.setSource({limits, folder: settled.folder});
    return settled.source;
  }

  async stop(): Promise<void> {
    await endTogether([...this.#slots.map(({source}) => source.stop()), ...this.#retiring.values()]);
  }

  endedBy(error: unknown): void {
    for (const {source} of this.#slots) source.opened.endedBy(error);
  }

  /** Once nobody uses their states any more. @throws the first error, after all were closed */
  close(): void {
    const errors: unknown[] = [];
    for (const {source} of this.#slots) {
      try {
        source.close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  #slotOf(send: SendLink): Slot | undefined {
    return this.#slots.find(({users}) => users.has(send));
  }

  /** As the target answered the last time; as most do when it never has. */
  #expectedView(send: SendLink): View {
    const limits = send.notes.source()?.limits ?? holdingOf(DEFAULTS.accept, assumedHeld()).limits;
    return narrowedView(offeredView(send.config), limits);
  }

  #slotFor(send: SendLink, view: View): Slot {
    let slot = this.#slots.find(({source}) => sameView(source.view, view));
    if (slot === undefined) {
      slot = this.#open(send, view);
      this.#slots.push(slot);
      if (this.#signal !== undefined) this.#start(slot, this.#signal);
    }
    return slot;
  }

  #open(send: SendLink, view: View): Slot {
    const {config, ...rest} = this.#options;
    const folder = this.#freeFolder(send, view);
    const source = new SourceVolume({...rest, name: config.name, settings: send.config, view, folder}, this.#parts);
    return {source, folder, users: new Set(), over: new AbortController(), ran: Promise.resolve()};
  }

  /** The one of the last time; else the first that no other link had. */
  #freeFolder(send: SendLink, view: View): string {
    const inUse = new Set([...this.#slots.map(({folder}) => folder), ...this.#retiring.keys()]);
    const remembered = send.notes.source()?.folder ?? '';
    if (FOLDER.test(remembered) && !inUse.has(remembered)) return remembered;
    for (const other of this.#sends) if (other !== send) inUse.add(other.notes.source()?.folder ?? '');
    if (!inUse.has('source')) return 'source';
    const key = viewDigest(view).toString('hex');
    let at = 0;
    while (inUse.has(`source-${key.slice(at, at + KEY_CHARS)}`)) at++;
    return `source-${key.slice(at, at + KEY_CHARS)}`;
  }

  #start(slot: Slot, signal: AbortSignal): void {
    slot.ran = slot.source.run(AbortSignal.any([signal, slot.over.signal]));
    slot.ran.catch((error: unknown) => {
      if (!slot.over.signal.aborted) this.#failed.reject(error);
    });
  }

  #retire(slot: Slot): void {
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    slot.over.abort();
    const {source, ran, folder} = slot;
    const closed = endAll([
      () => source.stop(),
      () => ran.catch(() => undefined),
      () => source.close(),
      () => this.#retiring.delete(folder),
    ]);
    closed.catch((error: unknown) => this.#failed.reject(error));
    this.#retiring.set(folder, closed);
  }
}
