/**
 * Old names of files that were moved and changed, while the files are on their way: whether what the target has under one
 * may go once its file has arrived. Adds nothing to what is sent.
 *
 * Invariant: a name that anything else was taken for meanwhile stays; what is left under it is found by a comparison.
 */
import type {RelPath} from '../model/path.ts';
import type {Step} from '../reconcile/plan-path.ts';
import {fromOf, type Item} from './send-item.ts';

export class OldNames {
  /** By old name: the new one. */
  readonly #leaving = new Map<RelPath, RelPath>();

  /** A step is taken: what it puts, moves or removes at an old name is another thing. */
  note(step: Step): void {
    if (this.#leaving.size === 0) return;
    this.#leaving.delete(step.path);
    if (step.kind === 'op' && 'to' in step.op) this.#leaving.delete(step.op.to);
  }

  /** The file of a step that was taken is on its way. */
  leaves(item: Item): void {
    const from = fromOf(item);
    if (from !== undefined) this.#leaving.set(from, item.path);
  }

  /** @returns whether the file's old name is its own still; asked once, when it has arrived */
  take(item: Item): boolean {
    const from = fromOf(item);
    if (from === undefined || this.#leaving.get(from) !== item.path) return false;
    return this.#leaving.delete(from);
  }

  /** Nothing is on its way any more. */
  clear(): void {
    this.#leaving.clear();
  }
}
