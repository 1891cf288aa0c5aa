/**
 * Turns what happens inside a run into what people and programs are told, and keeps the problems.
 *
 * Invariant: every path that is not in sync has a problem with a reason; one that arrived has none.
 */
import {retryDelayMs, UNREAD_RETRY_MS} from '../base/backoff.ts';
import type {Clock} from '../base/clock.ts';
import type {RelPath} from '../model/path.ts';
import {IS_TRANSIENT, isOfVolume, type Problem, type ProblemCode} from '../model/problem.ts';
import type {PathProblem} from '../scan/scan-problems.ts';
import type {Applied} from '../session/send-item.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import type {SyncEvent} from './sync-api.ts';

/** Codes that the scanner gives: a whole scan tells all of them anew. */
const SCANNED: readonly ProblemCode[] = ['unreadable', 'not-carried', 'mount', 'too-deep', 'too-long', 'attributes'];
/** Codes that equal digests do not refute: the path itself is not in the view. */
const BEYOND_DIGESTS: readonly ProblemCode[] = [
  'unreadable',
  'not-carried',
  'mount',
  'too-deep',
  'too-long',
  'attributes',
  'owner-refused',
  'corrupt-here', // the digest is of what was read before
];
const NOTICES_MAX = 100;
/** Codes that a version which has changed since does not heal. */
const STILL_HOT: readonly ProblemCode[] = ['changing', 'torn'];
const PAGE = 1_000;

export interface SyncEventsParts {
  agent: LinkNotes;
  clock: Clock;
  onEvent(event: SyncEvent): void;
  /** Whether a path is (still) in the source. */
  isThere(path: RelPath): boolean;
}

export class SyncEvents {
  readonly #parts: SyncEventsParts;
  readonly #options: {isLive: boolean; isDryRun: boolean};
  /** Since both sides were last equal. */
  readonly #noticed = new Set<string>();

  constructor(options: {isLive: boolean; isDryRun: boolean}, parts: SyncEventsParts) {
    this.#options = options;
    this.#parts = parts;
  }

  tell(event: SyncEvent): void {
    this.#parts.onEvent(event);
  }

  /** What is tried again and again is told once, until it has worked. */
  notice(level: 'info' | 'warn', message: string): void {
    if (this.#noticed.has(message)) return;
    if (this.#noticed.size < NOTICES_MAX) this.#noticed.add(message);
    this.tell({kind: 'notice', level, message});
  }

  applied({path, op, isReplaced, sizeBytes, noticedMs, hot}: Applied): void {
    const to = op.kind === 'rename' || op.kind === 'exchange' || op.kind === 'link' ? op.to : undefined;
    const latencyMs =
      noticedMs === undefined || !this.#options.isLive ? undefined : this.#parts.clock.monotonicMs() - noticedMs;
    const told = {op: isReplaced ? ('replace' as const) : op.kind, path, to, sizeBytes};
    if (this.#options.isDryRun) return this.tell({kind: 'planned', ...told});
    this.tell({kind: 'applied', ...told, latencyMs});
    // Found when it was scanned or read: the metadata that arrived does not heal it, nor does content its attributes.
    const isMetaOnly = op.kind === 'set-meta' || op.kind === 'make-dir';
    const still = hot === undefined ? [] : STILL_HOT;
    this.#solved(path, isMetaOnly ? [...BEYOND_DIGESTS, ...still] : ['attributes', ...still]);
  }

  /**
   * Notes a path that did not arrive. What is known already is told again only when the reason is another.
   * @param retryMsMin it is not tried before
   * @returns after how many milliseconds it is worth another try
   */
  failed(path: RelPath, code: ProblemCode, message: string, side: Problem['side'], retryMsMin = 0): number {
    const {agent, clock} = this.#parts;
    // What lies on the target is torn until something whole replaces it, however often that fails.
    if (code === 'changing' && agent.problemOf('source', path)?.code === 'torn') return retryMsMin;
    const nowMs = clock.nowMs();
    const known = agent.problemCount() === 0 ? undefined : agent.problemOf(side, path);
    const firstSeenMs = known?.firstSeenMs ?? nowMs;
    const retryMs = Math.max(retryMsMin, retryDelayMs(nowMs - firstSeenMs, Math.random()));
    const nextTryMs = IS_TRANSIENT[code] ? nowMs + retryMs : undefined;
    const problem = {path, code, message, side, firstSeenMs, lastSeenMs: nowMs, nextTryMs};
    agent.upsertProblem(problem);
    if (known?.code !== code || known.message !== message) this.tell({kind: 'problem', problem});
    return retryMs;
  }

  /** @param isWhole after a scan of the whole volume: what it did not say again is solved */
  scanned(problems: readonly PathProblem[], isWhole: boolean): void {
    for (const {path, code, message} of problems) this.failed(path, code, message, 'source', UNREAD_RETRY_MS);
    if (!isWhole) return;
    const still = new Set(problems.map(({path}) => path));
    this.#solveWhere((problem) => {
      if (problem.side !== 'source' || still.has(problem.path)) return false;
      return SCANNED.includes(problem.code) || !this.#parts.isThere(problem.path);
    });
  }

  /** What the target does not take, one problem a kind; a kind that is not among them is solved. */
  leftOut(problems: readonly PathProblem[]): void {
    const {agent} = this.#parts;
    for (const {path, code, message} of problems)
      if (agent.problemOf('source', path)?.message !== message) this.failed(path, code, message, 'source');
    const still = new Set(problems.map(({path}) => path));
    if (agent.problemCount() > still.size)
      this.#solveWhere(({path, side}) => side === 'source' && isOfVolume(path) && !still.has(path), 'all');
  }

  /** A path is no more in the source. */
  gone(path: RelPath): void {
    this.#solved(path);
  }

  /** Both digests are equal: what a digest covers has arrived. */
  proved(): void {
    this.#noticed.clear();
    this.#solveWhere((problem) => !BEYOND_DIGESTS.includes(problem.code) || problem.side === 'target');
  }

  problems(): {first: Problem[]; count: number} {
    return {first: this.#parts.agent.problems(PAGE), count: this.#parts.agent.problemCount()};
  }

  /** @param which those that are about the volume and not about one path are solved by `leftOut` alone */
  #solveWhere(isSolved: (problem: Problem) => boolean, which: 'paths' | 'all' = 'paths'): void {
    let after: {side: Problem['side']; path: RelPath} | undefined;
    for (;;) {
      const page = this.#parts.agent.problems(PAGE, after);
      for (const problem of page)
        if ((which === 'all' || !isOfVolume(problem.path)) && isSolved(problem))
          this.#clear(problem.side, problem.path);
      if (page.length < PAGE) return;
      after = page.at(-1);
    }
  }

  #solved(path: RelPath, except: readonly ProblemCode[] = []): void {
    const {agent} = this.#parts;
    for (const side of ['source', 'target'] as const) {
      if (agent.problemCount() === 0) return;
      const code = agent.problemOf(side, path)?.code;
      if (code !== undefined && !(side === 'source' && except.includes(code))) this.#clear(side, path);
    }
  }

  #clear(side: Problem['side'], path: RelPath): void {
    if (this.#parts.agent.clearProblem(side, path)) this.tell({kind: 'solved', path});
  }
}
