/**
 * Turns what happens inside a run into what people and programs are told, and keeps the problems.
 *
 * Invariant: every path that is not in sync has a problem with a reason; one that arrived has none.
 */
import type {Clock} from '../base/clock.ts';
import {showPath, type RelPath} from '../model/path.ts';
import {IS_TRANSIENT, type Problem, type ProblemCode} from '../model/problem.ts';
import type {Step} from '../reconcile/plan-path.ts';
import type {PathProblem} from '../scan/scan-problems.ts';
import type {Applied} from '../session/send-item.ts';
import type {AgentStore} from '../state/agent-store.ts';
import type {SyncEvent} from './sync-api.ts';

/** Codes that the scanner gives: a whole scan tells all of them anew. */
const SCANNED: readonly ProblemCode[] = ['unreadable', 'not-carried', 'mount', 'too-deep', 'too-long'];
/** Codes that equal digests do not refute: the path itself is not in the view. */
const BEYOND_DIGESTS: readonly ProblemCode[] = [
  'unreadable',
  'not-carried',
  'mount',
  'too-deep',
  'too-long',
  'attributes',
  'owner-refused',
];
const RETRY_MS = 60_000;
const PAGE = 1_000;

export interface SyncEventsParts {
  agent: AgentStore;
  clock: Clock;
  onEvent(event: SyncEvent): void;
  /** Whether a path is (still) in the source. */
  isThere(path: RelPath): boolean;
}

export class SyncEvents {
  readonly #parts: SyncEventsParts;
  readonly #isLive: boolean;

  constructor(options: {isLive: boolean}, parts: SyncEventsParts) {
    this.#isLive = options.isLive;
    this.#parts = parts;
  }

  tell(event: SyncEvent): void {
    this.#parts.onEvent(event);
  }

  notice(level: 'info' | 'warn', message: string): void {
    this.tell({kind: 'notice', level, message});
  }

  applied({path, op, isReplaced, sizeBytes, noticedMs}: Applied): void {
    const to = op.kind === 'rename' || op.kind === 'exchange' || op.kind === 'link' ? op.to : undefined;
    const latencyMs =
      noticedMs === undefined || !this.#isLive ? undefined : this.#parts.clock.monotonicMs() - noticedMs;
    this.tell({kind: 'applied', op: isReplaced ? 'replace' : op.kind, path, to, sizeBytes, latencyMs});
    // Found when it was scanned or read: the metadata that arrived does not heal it, nor does content its attributes.
    const isMetaOnly = op.kind === 'set-meta' || op.kind === 'make-dir';
    this.#solved(path, isMetaOnly ? BEYOND_DIGESTS : ['attributes']);
  }

  planned(step: Step, sizeOf: (path: RelPath) => number): void {
    const op = step.kind === 'op' ? step.op.kind : step.have === undefined ? 'put-file' : 'replace';
    const to = step.kind === 'op' && 'to' in step.op ? step.op.to : undefined;
    this.tell({kind: 'planned', op, path: step.path, to, sizeBytes: step.kind === 'file' ? sizeOf(step.path) : 0});
  }

  failed(path: RelPath, code: ProblemCode, message: string, side: Problem['side']): void {
    const {agent, clock} = this.#parts;
    const nowMs = clock.nowMs();
    const nextTryMs = IS_TRANSIENT[code] ? nowMs + RETRY_MS : undefined;
    const problem = {path, code, message, side, firstSeenMs: nowMs, lastSeenMs: nowMs, nextTryMs};
    agent.upsertProblem(problem);
    this.tell({kind: 'problem', problem});
  }

  /** A file came without attributes that this version does not carry. */
  notes(path: RelPath, notes: number): void {
    if (notes === 0) {
      const {agent} = this.#parts;
      if (agent.problemCount() > 0 && agent.problemOf('source', path)?.code === 'attributes') this.#solved(path);
      return;
    }
    const what = [notes & 1 ? 'extended attributes or ACLs' : '', notes & 2 ? 'holes' : '']
      .filter((word) => word !== '')
      .join(' and ');
    this.failed(
      path,
      'attributes',
      `${showPath(path)} arrived without its ${what}: this version does not carry them`,
      'source',
    );
  }

  /** @param isWhole after a scan of the whole volume: what it did not say again is solved */
  scanned(problems: readonly PathProblem[], isWhole: boolean): void {
    for (const {path, code, message} of problems) this.failed(path, code, message, 'source');
    if (!isWhole) return;
    const still = new Set(problems.map(({path}) => path));
    this.#solveWhere((problem) => {
      if (problem.side !== 'source' || still.has(problem.path)) return false;
      return SCANNED.includes(problem.code) || !this.#parts.isThere(problem.path);
    });
  }

  /** A path is no more in the source. */
  gone(path: RelPath): void {
    this.#solved(path);
  }

  /** Both digests are equal: what a digest covers has arrived. */
  proved(): void {
    this.#solveWhere((problem) => !BEYOND_DIGESTS.includes(problem.code) || problem.side === 'target');
  }

  problems(): {first: Problem[]; count: number} {
    return {first: this.#parts.agent.problems(PAGE), count: this.#parts.agent.problemCount()};
  }

  #solveWhere(isSolved: (problem: Problem) => boolean): void {
    let after: {side: Problem['side']; path: RelPath} | undefined;
    for (;;) {
      const page = this.#parts.agent.problems(PAGE, after);
      for (const problem of page) if (isSolved(problem)) this.#clear(problem.side, problem.path);
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
