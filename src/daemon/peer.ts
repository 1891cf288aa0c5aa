/**
 * One paired agent: dials it where it has an address, takes its connections, keeps one session with it.
 *
 * Not its links. Invariants: at most one session serves links; a newer session of the same run of the peer replaces the
 * older; two live runs with one identity are told so and served no more.
 */
import {backoffDelayMs} from '../base/backoff.ts';
import {later, type Clock} from '../base/clock.ts';
import {Ending} from '../base/ending.ts';
import {asTowlineError, TowlineError, type ErrorCode} from '../base/errors.ts';
import type {HostPort, PeerConfig} from '../config/agent-config.ts';
import {showHostPort} from '../config/host-port.ts';
import type {HaltReport, PeerReport} from '../control/agent-api.ts';
import {SessionLinks, type SessionLinksParts} from '../session/session-links.ts';
import {Session} from '../session/session.ts';
import type {LogPort} from '../telemetry/log.ts';
import type {Channel} from '../transport/channel.ts';
import {dial} from '../transport/dial.ts';
import type {Identity} from '../transport/identity.ts';
import {protocolFault} from '../wire/fault.ts';
import {FRAME_BYTES_MAX} from '../wire/limits.ts';
import type {Message, MessageOf} from '../wire/messages.ts';
import type {Feature} from '../wire/negotiate.ts';

export interface PeerParts {
  /** Asked at each try: it may be rotated. */
  identity: () => Identity;
  name: string;
  /** Random for this run of the agent. */
  instance: Buffer;
  clock: Clock;
  log: LogPort;
  onOpen(peer: string, request: MessageOf<'open-link'>, port: Parameters<SessionLinksParts['onOpen']>[1]): void;
  onMessage(peer: string, message: Message): void;
  /** The session came or went. */
  onChange(peer: string): void;
}

interface Open {
  session: Session;
  links: SessionLinks;
  instance: Buffer;
  dialledBy: 'us' | 'peer';
  sinceMs: number;
}

const RECONNECT = {delayMsMin: 50, delayMsMax: 15_000}; // both hosts may just be starting, and one is a moment later
const PROBE_MS = 3_000;
const JUDGING_MAX = 8; // connections of one peer that are not judged yet
const EARLY_MAX = 300; // a link for each volume, and a little more
const SETTLED_MS = 10_000; // a connection that lasted so long worked: the next try is the first again

export class Peer {
  #config: PeerConfig;
  readonly #parts: PeerParts;
  readonly #controller = new AbortController();
  /** Ends what the dial loop waits for. */
  #kick = Promise.withResolvers<void>();
  #open: Open | undefined;
  #opened = Promise.withResolvers<SessionLinks>();
  /** Connections are judged one after the other. */
  #judging: Promise<void> = Promise.resolve();
  #judgingCount = 0;
  #tried: {atMs: number; reason: string; code: ErrorCode} | undefined;
  #halt: HaltReport | undefined;

  constructor(config: PeerConfig, parts: PeerParts) {
    this.#config = config;
    this.#parts = parts;
    void this.#dialLoop();
  }

  get config(): PeerConfig {
    return this.#config;
  }

  get halt(): HaltReport | undefined {
    return this.#halt;
  }

  /** Undefined while not connected. */
  get links(): SessionLinks | undefined {
    return this.#open?.links;
  }

  /** Why there is no session. */
  get reason(): string | undefined {
    if (this.#open !== undefined) return undefined;
    if (this.#halt !== undefined) return this.#halt.message;
    const {address, name} = this.#config;
    return this.#tried?.reason ?? (address === undefined ? `waiting for ${name} to dial` : `dialling ${name}`);
  }

  /** What kind of trouble keeps it away: one that time does not mend is told to who waits. */
  get failure(): ErrorCode | undefined {
    return this.#open === undefined ? this.#tried?.code : undefined;
  }

  report(): PeerReport {
    const {name, id, address} = this.#config;
    const isConnected = this.#open !== undefined;
    return {
      name,
      id,
      address: address === undefined ? undefined : showHostPort(address),
      isConnected,
      dialledBy: this.#open?.dialledBy,
      sinceMs: this.#open?.sinceMs ?? this.#tried?.atMs,
      reason: this.reason,
    };
  }

  /** Resolves with the links of the session as soon as there is one. @throws the signal's reason */
  async connected(signal: AbortSignal): Promise<SessionLinks> {
    while (this.#open === undefined) {
      const {promise, reject} = Promise.withResolvers<never>();
      const onAbort = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, {once: true});
      if (signal.aborted) onAbort();
      try {
        await Promise.race([this.#opened.promise, promise]);
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    }
    return this.#open.links;
  }

  send(message: Message): void {
    this.#open?.session.send(message);
  }

  /** Whether the session that is open now speaks a feature. */
  speaks(feature: Feature): boolean {
    return this.#open?.session.speaks(feature) ?? false;
  }

  /**
   * Asks the peer's agent, outside of any link.
   * @throws PEER_LOST when it is not connected, does not answer in time, or leaves
   */
  async ask(make: (request: number) => Message, deadlineMs: number): Promise<Message> {
    const open = this.#open;
    const {name} = this.#config;
    const lost = (what: string): TowlineError =>
      new TowlineError('PEER_LOST', `${name} ${what}`, {peer: name, idleMs: deadlineMs});
    if (open === undefined) throw lost(`is not connected: ${this.reason}`);
    let answer: Message | undefined;
    // An end of its own: a question that stays open for long ends the session, with all its links.
    const ending = new Ending();
    const inTime = later(this.#parts.clock, deadlineMs, () => ending.end(lost('does not answer')));
    try {
      await open.session.ask(
        make,
        (message) => {
          answer = message;
          return true;
        },
        ending,
      );
    } finally {
      inTime();
    }
    return answer as Message;
  }

  /** Another address or ID, or the operator's word after a halt. */
  change(config: PeerConfig): void {
    const isSameId = config.id === this.#config.id;
    this.#config = config;
    this.#halt = undefined;
    if (!isSameId) this.#open?.session.close('the peer has another identity now');
    this.#kick.resolve();
  }

  /** The peer has announced its next key: connections to come need that one. */
  repin(config: PeerConfig): void {
    this.#config = config;
  }

  /** The network may be there again: tries at once. */
  retry(): void {
    this.#kick.resolve();
  }

  /** A connection that has proved the peer's key. */
  take(channel: Channel, dialledBy: 'us' | 'peer'): Promise<void> {
    const early: (() => void)[] = [];
    const later = (tell: () => void): void => {
      if (early.length >= EARLY_MAX)
        throw protocolFault('a session', 'messages before it is kept', EARLY_MAX + 1, EARLY_MAX);
      early.push(tell);
    };
    let isKept = false;
    const {name, id} = this.#config;
    const {instance} = this.#parts;
    const session = new Session({name: this.#parts.name, instance, isShared: true}, {channel});
    const links = new SessionLinks({
      session,
      onOpen: (request, port) => {
        if (isKept) this.#parts.onOpen(name, request, port);
        else later(() => this.#parts.onOpen(name, request, port));
      },
      onAgentMessage: (message) => {
        if (isKept) this.#parts.onMessage(name, message);
        else later(() => this.#parts.onMessage(name, message));
      },
    });
    // Begun at once: who says nothing keeps nobody else waiting.
    const greeted = session.ready();
    greeted.catch(() => undefined);
    if (++this.#judgingCount > JUDGING_MAX) session.close('too many connections at once');
    this.#judging = this.#judging
      .then(async () => {
        const hello = await greeted;
        if (id !== this.#config.id) session.close('the peer has another identity now');
        if (!session.isOpen) return;
        const open = {session, links, instance: Buffer.from(hello.instance), dialledBy, sinceMs: 0};
        isKept = await this.#judge(open);
        if (!isKept) return;
        this.#adopt({...open, sinceMs: this.#parts.clock.nowMs()});
        for (const tell of early) tell();
      })
      .catch((error: unknown) => this.#failed(error))
      .finally(() => this.#judgingCount--);
    return this.#judging;
  }

  /** @returns whether this connection is the one to be kept */
  async #judge(next: Open): Promise<boolean> {
    if (this.#controller.signal.aborted || this.#halt !== undefined) {
      next.session.close(this.#halt === undefined ? 'this peer was removed' : this.#halt.message);
      return false;
    }
    const old = this.#open;
    if (old === undefined || !old.session.isOpen) return true;
    const lives = await old.session.probe(PROBE_MS).then(
      () => true,
      () => false,
    );
    if (lives && !old.instance.equals(next.instance)) {
      this.#tellClones(old, next);
      return false;
    }
    const keeper = this.#parts.identity().id < this.#config.id ? 'us' : 'peer'; // PROTOCOL.md: the lower ID dials
    if (lives && old.dialledBy === keeper && next.dialledBy !== keeper) {
      next.session.close('another connection is kept');
      return false;
    }
    old.session.close('replaced by a newer connection');
    return true;
  }

  /** H19: both get the reason, and nothing is served until one of them is gone. */
  #tellClones(...both: Open[]): void {
    const {name, id} = this.#config;
    const message = `two running agents have the identity ${id.slice(0, 12)}… of ${name}; stop one of them, and give a copied host an identity of its own`;
    const error = new TowlineError('HALTED', message, {kind: 'identity-clone', volume: '', count: 0, limit: 0});
    this.#parts.log.error(message, {peer: name});
    for (const {session} of both) session.fail(error);
  }

  #adopt(open: Open): void {
    const {name} = this.#config;
    this.#open = open;
    this.#tried = undefined;
    this.#opened.resolve(open.links);
    this.#parts.log.info('connected', {peer: name, dialledBy: open.dialledBy});
    this.#parts.onChange(name);
    void open.session.closed.then((reason) => this.#lost(open, reason));
  }

  #lost(open: Open, reason: TowlineError): void {
    if (reason.code === 'PROTOCOL' && (reason as TowlineError<'PROTOCOL'>).details.rule === 'HALTED')
      this.#halt = {
        kind: 'identity-clone',
        count: 0,
        limit: 0,
        message: reason.message.replace(/^the peer ended the session: /, ''),
        sinceMs: this.#parts.clock.nowMs(),
      };
    if (this.#open !== open) return;
    this.#open = undefined;
    this.#opened = Promise.withResolvers();
    this.#failed(reason);
    this.#parts.onChange(this.#config.name);
  }

  #failed(error: unknown): void {
    const {code, message: reason} = asTowlineError(error);
    const isNews = this.#tried?.reason !== reason;
    this.#tried = {atMs: this.#parts.clock.nowMs(), reason, code};
    if (!isNews) return;
    this.#parts.log.warn(reason, {peer: this.#config.name});
    this.#parts.onChange(this.#config.name);
  }

  async #dialLoop(): Promise<void> {
    const {signal} = this.#controller;
    for (let attempt = 0; !signal.aborted; attempt++) {
      this.#kick = Promise.withResolvers();
      const startMs = this.#parts.clock.monotonicMs();
      if (this.#open !== undefined) {
        await Promise.race([this.#open.session.closed, this.#kick.promise]);
        if (this.#parts.clock.monotonicMs() - startMs > SETTLED_MS) attempt = 0;
      } else if (this.#config.address !== undefined && this.#halt === undefined) {
        await this.#dialOnce(this.#config.address, signal);
        if (this.#open !== undefined) continue;
      }
      const {delayMsMin, delayMsMax} = RECONNECT;
      const delayMs = backoffDelayMs(Math.min(attempt, 10), {delayMsMin, delayMsMax}, Math.random());
      await Promise.race([this.#parts.clock.sleep(delayMs, signal).catch(() => undefined), this.#kick.promise]);
    }
  }

  async #dialOnce({host, port}: HostPort, signal: AbortSignal): Promise<void> {
    try {
      const target = {identity: this.#parts.identity(), host, port, peerId: this.#config.id, signal};
      await this.take(await dial(target, {frameBytesMax: FRAME_BYTES_MAX}), 'us');
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }

  close(reason: string): void {
    this.#controller.abort(new TowlineError('CANCELLED', reason, {signal: 'close'}));
    this.#kick.resolve();
    this.#open?.session.close(reason);
  }
}
