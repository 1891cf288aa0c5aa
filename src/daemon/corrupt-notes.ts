/**
 * Notes of a link about files that rot on disk, on one of its sides, until they hold again what they held.
 *
 * Not who finds it out. Invariant: a note goes only when the very bytes that the state knows were read again.
 */
import type {Clock} from '../base/clock.ts';
import type {Digest} from '../model/digest.ts';
import type {RelPath} from '../model/path.ts';
import {corruptHere, type Problem} from '../model/problem.ts';
import type {LinkNotes} from '../state/agent-store.ts';

/** A file that was read once more holds other bytes, under times that have not changed. */
export function noteCorrupt(
  path: RelPath,
  digests: {known: Digest; found: Digest},
  {side, notes, clock}: {side: Problem['side']; notes: LinkNotes; clock: Pick<Clock, 'nowMs'>},
): void {
  const nowMs = clock.nowMs();
  const times = {firstSeenMs: nowMs, lastSeenMs: nowMs, nextTryMs: undefined};
  notes.upsertProblem({path, code: 'corrupt-here', message: corruptHere(path, {...digests, side}), side, ...times});
}

/** A file that was read once more holds what the state says. */
export function noteWhole(path: RelPath, {side, notes}: {side: Problem['side']; notes: LinkNotes}): void {
  if (notes.problemCount() > 0 && notes.problemOf(side, path)?.code === 'corrupt-here') notes.clearProblem(side, path);
}
