/**
 * What is wrong with the copy that a link writes: files that rot on disk, and, where drift is only reported, what
 * something else has changed. Noted in the state; says which operations of the source are not to be done for it.
 *
 * Not the source's problems, which the source keeps. Invariant: what was reported as drift is overwritten by nobody until
 * the operator takes the source's version, or both sides are found equal.
 */
import type {Clock} from '../base/clock.ts';
import type {Digest} from '../model/digest.ts';
import type {Failed, Op, OpResult} from '../model/op.ts';
import {isWithin, showPath, type RelPath} from '../model/path.ts';
import type {Problem} from '../model/problem.ts';
import type {Change} from '../scan/pass.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import {noteCorrupt, noteWhole} from './corrupt-notes.ts';

export const DRIFTED_MAX = 1_000; // more are not told one by one: then everything is held
const MANY: RelPath = '/drift'; // a problem of the whole volume (model/problem.ts)
const PAGE = 1_000;

export class TargetProblems {
  readonly #volume: string;
  readonly #notes: LinkNotes;
  readonly #clock: Clock;
  /** Paths that drifted; MANY for more than are kept. */
  readonly #drifted = new Set<RelPath>();

  constructor(options: {volume: string}, parts: {notes: LinkNotes; clock: Clock}) {
    this.#volume = options.volume;
    this.#notes = parts.notes;
    this.#clock = parts.clock;
    for (const {path, code} of this.#all()) if (code === 'drifted') this.#drifted.add(path);
  }

  get count(): number {
    return this.#notes.problemCount();
  }

  get hasDrift(): boolean {
    return this.#drifted.size > 0;
  }

  /** A file that was read once more holds other bytes, under times that have not changed. What drifted stays so. */
  corrupt(path: RelPath, digests: {known: Digest; found: Digest}): void {
    if (this.#drifted.has(path)) return;
    noteCorrupt(path, digests, {side: 'target', notes: this.#notes, clock: this.#clock});
  }

  /** A file that was read once more holds what the state says. */
  whole(path: RelPath): void {
    noteWhole(path, {side: 'target', notes: this.#notes});
  }

  /** Something else has changed these paths, and that is only to be told. Durable at return. @throws SYSTEM */
  drifted(paths: readonly RelPath[]): void {
    const {size} = this.#drifted;
    for (const path of paths) {
      const isKept = this.#drifted.has(path) || this.#drifted.size < DRIFTED_MAX;
      const at = isKept ? path : MANY;
      const what = isKept ? showPath(path) : `more than ${DRIFTED_MAX} paths`;
      const next = `change it back, or take the source's version with towline rescan ${this.#volume} on this host`;
      this.#drifted.add(at);
      this.#noteDrift(at, `${what}: changed on this copy by something else; ${next}`);
    }
    // The state of the copy has it as it is already: after a kill nothing else would keep it from being overwritten.
    if (this.#drifted.size > size) this.#notes.flush();
  }

  /** The operator takes the source's version. @returns whether there was any drift */
  takeSource(): boolean {
    return this.#forget((problem) => problem.code === 'drifted');
  }

  /** Both sides are equal. */
  proved(): void {
    if (this.hasDrift) this.takeSource();
  }

  /** What the source has replaced holds what it sent. */
  applied(ops: readonly Op[], results: readonly OpResult[]): void {
    if (this.count === 0) return;
    for (const [index, op] of ops.entries()) {
      if (results[index]?.status !== 'done' || op.kind === 'set-meta' || op.kind === 'make-dir') continue;
      for (const path of pathsOf(op)) if (!this.#drifted.has(path)) this.#notes.clearProblem('target', path);
    }
  }

  /** Why an operation is not to be done. @param isDir whether the state has a directory at a path */
  heldBack(op: Op, isDir: (path: RelPath) => boolean): Failed | undefined {
    if (!this.hasDrift) return undefined;
    const isOfDir = op.kind === 'set-meta' || op.kind === 'make-dir';
    for (const drifted of this.#drifted) {
      const isHeld = pathsOf(op).some((path) => {
        if (path === drifted || drifted === MANY) return true;
        // What it would take away with it, or what would come to lie where something else was.
        return (!isOfDir && isWithin(drifted, path)) || (isWithin(path, drifted) && !isDir(drifted));
      });
      if (!isHeld) continue;
      const what = `${showPath(op.path)} stays as it is: ${drifted === MANY ? 'much' : showPath(drifted)} was changed on the copy by something else`;
      const message = `${what}, and drift is set to report there; on that host: towline rescan ${this.#volume}`;
      return {status: 'failed', code: 'refused', message};
    }
    return undefined;
  }

  #noteDrift(path: RelPath, message: string): void {
    const nowMs = this.#clock.nowMs();
    const times = {firstSeenMs: nowMs, lastSeenMs: nowMs, nextTryMs: undefined};
    this.#notes.upsertProblem({path, code: 'drifted', message, side: 'target', ...times});
  }

  #forget(isOver: (problem: Problem) => boolean): boolean {
    const over = [...this.#all()].filter(isOver);
    for (const {side, path} of over) this.#notes.clearProblem(side, path);
    this.#drifted.clear();
    return over.length > 0;
  }

  *#all(): Generator<Problem> {
    for (let after: Problem | undefined; ;) {
      const page = this.#notes.problems(PAGE, after);
      yield* page;
      if (page.length < PAGE) return;
      after = page.at(-1);
    }
  }
}

/** Paths at which a look has found what something else did. A directory's times change with what it holds. */
export function driftOf(change: Change): RelPath[] {
  if (change.kind === 'renamed' || change.kind === 'exchanged') return [change.path, change.to];
  if (change.kind === 'gone') return [change.path];
  const {before, after, from} = change;
  if (from !== undefined) return [from, change.path];
  const isDir = before?.type === 'dir' && after.type === 'dir';
  const isSame = before?.mode === after.mode && before.uid === after.uid && before.gid === after.gid;
  return isDir && isSame && before.attrs.equals(after.attrs) ? [] : [change.path];
}

function pathsOf(op: Op): RelPath[] {
  return op.kind === 'rename' || op.kind === 'exchange' ? [op.path, op.to] : [op.path];
}
