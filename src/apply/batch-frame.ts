/** The operations of a batch: taken from the frame that it came in, and which of them build on others. Pure. */
import {invariant} from '../base/errors.ts';
import {opInView, type Op} from '../model/op.ts';
import {parentOf, ROOT, type RelPath} from '../model/path.ts';
import type {View} from '../model/view.ts';
import {decode} from '../wire/codec.ts';

/**
 * @returns the operations with what of their metadata is in the view
 * @throws BUG for another message: only batches are handed over
 */
export function opsOf(frame: Uint8Array, view: View): Op[] {
  const message = decode(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
  invariant(message.kind === 'batch', 'a frame that is no batch was handed over');
  return message.ops.map((op) => opInView(op, view));
}

/**
 * Where the operations end that can be staged at once: behind them is one that builds on what they change.
 * @param refused operations that are not to be done, by index
 */
export function stretchEnd(ops: readonly Op[], from: number, refused: ReadonlyMap<number, unknown>): number {
  const moving = new Set<RelPath>();
  let end = from;
  for (; end < ops.length; end++) {
    const op = ops[end] as Op;
    if (buildsOn(op, moving)) break;
    if (!refused.has(end)) for (const path of movedBy(op)) moving.add(path);
  }
  return end;
}

/** Paths at which something else will be once it is done. */
function movedBy(op: Op): RelPath[] {
  if (op.kind === 'rename' || op.kind === 'exchange') return [op.path, op.to];
  return op.kind === 'set-meta' ? [] : [op.path];
}

/** Whether an operation needs what is at or above one of these paths to be there already, or to be gone. */
export function buildsOn(op: Op, paths: ReadonlySet<RelPath>): boolean {
  if (paths.size === 0) return false;
  for (const path of pathsOf(op)) {
    for (let above = path; above !== ROOT; above = parentOf(above)) if (paths.has(above)) return true;
  }
  return false;
}

/** All that an operation changes or needs. */
export function pathsOf(op: Op): RelPath[] {
  if (op.kind === 'link' || op.kind === 'rename' || op.kind === 'exchange') return [op.path, op.to];
  return op.kind === 'put-file' && op.source.from === 'copy' ? [op.path, op.source.path] : [op.path];
}
