/**
 * Files of a run's rounds that changed while they were read: looked at once more in the next round, and told when the
 * rounds are over.
 *
 * Not for what is followed (live-link.ts). Invariant: a path that did not arrive in its present version is told.
 */
import type {Clock} from '../base/clock.ts';
import {nameOf, parentOf, showPath, type RelPath} from '../model/path.ts';
import type {HotRead, Reading} from '../model/reading.ts';
import {RestlessPaths} from '../reconcile/restless-paths.ts';
import type {LookedAt, ScanResult} from '../scan/pass.ts';
import {restlessSentence} from '../session/hot-sentences.ts';
import type {HotPort} from '../session/send-item.ts';
import type {SyncEvents} from './sync-events.ts';

export interface AgainPathsParts {
  clock: Clock;
  events: Pick<SyncEvents, 'failed' | 'scanned'>;
  scanner: {lookAt(dirs: LookedAt[]): Promise<ScanResult>};
}

const COUNT_MAX = 1_000;
const SENT_MAX = 2; // of one that goes on changing: then its next version is another run's

export class AgainPaths implements HotPort {
  readonly #parts: AgainPathsParts;
  readonly #restless: RestlessPaths;
  /** Those that arrived in a version that is not the present one, with how often. */
  readonly #hot = new Map<RelPath, {read: HotRead; count: number}>();
  #paths = new Set<RelPath>();

  constructor(options: {hot: 'wait' | 'torn'}, parts: AgainPathsParts) {
    this.#parts = parts;
    // A single run does not wait: what it could not read at rest once is read as it is.
    this.#restless = new RestlessPaths({maxWaitMs: 0, hot: options.hot, countMax: COUNT_MAX});
  }

  get size(): number {
    return this.#paths.size;
  }

  /** It is to be looked at once more. */
  note(path: RelPath): void {
    this.#paths.add(path);
  }

  /** It changed while it was read. */
  failed(path: RelPath): void {
    this.#paths.add(path);
    this.#restless.failed(path, this.#parts.clock.monotonicMs());
  }

  arrived({path, hot}: {path: RelPath; hot?: HotRead | undefined}): void {
    if (hot === undefined) {
      this.#paths.delete(path);
      this.#hot.delete(path);
      this.#restless.arrived(path);
      return;
    }
    this.#paths.add(path);
    this.#hot.set(path, {read: hot, count: (this.#hot.get(path)?.count ?? 0) + 1});
    this.#restless.advanced(path, this.#parts.clock.monotonicMs(), hot.toMs - hot.fromMs);
  }

  readingOf(path: RelPath): Reading | undefined {
    if ((this.#hot.get(path)?.count ?? 0) >= SENT_MAX) return undefined;
    return this.#restless.readingOf(path, this.#parts.clock.monotonicMs());
  }

  /** The state is brought up to date about them. */
  async lookAgain(): Promise<void> {
    const paths = [...this.#paths];
    this.#paths = new Set();
    if (paths.length === 0) return;
    const dirs = [...Map.groupBy(paths, parentOf)].map(([path, names]) => ({path, names: names.map(nameOf)}));
    const result = await this.#parts.scanner.lookAt(dirs);
    this.#parts.events.scanned(result.problems, false);
  }

  /** The rounds are over, and both sides differ. */
  tell(): void {
    for (const path of new Set([...this.#paths, ...this.#hot.keys()])) {
      const hot = this.#hot.get(path)?.read;
      const {code, message} =
        hot === undefined
          ? {
              code: 'changing' as const,
              message: `${showPath(path)} changes faster than it can be read; it is tried again`,
            }
          : restlessSentence(path, {forMs: 0, hot});
      this.#parts.events.failed(path, code, message, 'source');
    }
  }
}
