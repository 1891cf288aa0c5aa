/**
 * Says which operations of a source a target does not carry out now: a container has something mounted there, or what is
 * there was changed by something else and drift is only told.
 *
 * Decides nothing about deletes (session/target-deletes.ts). Invariant: what is refused has a reason that says what to do.
 */
import type {Failed, Op} from '../model/op.ts';
import {isWithin, showPath, type RelPath} from '../model/path.ts';
import type {VolumeStore} from '../state/volume-store.ts';
import type {EnginesPort} from './agent-parts.ts';
import type {TargetProblems} from './target-problems.ts';

export interface RefusedOpsParts {
  engines: EnginesPort;
  store: VolumeStore;
  problems: TargetProblems;
}

export class RefusedOps {
  readonly #rootPath: string;
  readonly #parts: RefusedOpsParts;

  /** @param options `rootPath`: host path, as text */
  constructor(options: {rootPath: string}, parts: RefusedOpsParts) {
    this.#rootPath = options.rootPath;
    this.#parts = parts;
  }

  /** @returns why, by index. @throws SYSTEM when an engine cannot be asked */
  async among(ops: readonly Op[]): Promise<Map<number, Failed>> {
    const refused = this.drifted(ops);
    const isHarmless = ops.every((op) => op.kind === 'set-meta' || (op.kind === 'make-dir' && !this.#isThere(op.path)));
    if (!isHarmless) await this.#addMounted(ops, refused);
    return refused;
  }

  /**
   * Those that would touch what was changed here by something else: as far as it was noticed by now.
   * @param before what is refused already, by index; it is part of the answer
   */
  drifted(ops: readonly Op[], before: ReadonlyMap<number, Failed> = new Map()): Map<number, Failed> {
    const refused = new Map(before);
    if (!this.#parts.problems.hasDrift) return refused;
    for (const [index, op] of ops.entries()) {
      const held = refused.has(index) ? undefined : this.#heldBack(op);
      if (held !== undefined) refused.set(index, held);
    }
    return refused;
  }

  /** Why a file is not to be replaced, before its content is taken. */
  file(path: RelPath): Failed | undefined {
    return this.#heldBack({kind: 'delete', path, type: 'file'});
  }

  #heldBack(op: Op): Failed | undefined {
    const {problems, store} = this.#parts;
    return problems.heldBack(op, (path) => store.resolve(path)?.entry.type === 'dir');
  }

  /** F13: what a running container has mounted below a path that would go, or over a file that would be replaced. */
  async #addMounted(ops: readonly Op[], refused: Map<number, Failed>): Promise<void> {
    const mounts = await this.#parts.engines.protectedBelow(this.#rootPath);
    if (mounts.length === 0) return;
    for (const [index, op] of ops.entries()) {
      if (op.kind === 'set-meta') continue;
      const destroyed = op.kind === 'rename' ? [op.to] : op.kind === 'exchange' ? [op.path, op.to] : [op.path];
      const mount = mounts.find((path) => destroyed.some((gone) => isWithin(path, gone) && this.#isReplaced(op, gone)));
      if (mount === undefined) continue;
      const message = `${showPath(op.path)} stays as it is: a container has something mounted at ${showPath(mount)}; stop the container, or leave the path out with ignore`;
      refused.set(index, {status: 'failed', code: 'mount', message});
    }
  }

  #isReplaced(op: Op, path: RelPath): boolean {
    const known = this.#parts.store.resolve(path);
    if (known === undefined) return false;
    return op.kind !== 'make-dir' || known.entry.type !== 'dir';
  }

  #isThere(path: RelPath): boolean {
    return this.#parts.store.resolve(path) !== undefined;
  }
}
