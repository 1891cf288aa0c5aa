/**
 * Judges deletes before they are done: the first few of a burst go at once, the rest waits until the burst is over and
 * is judged together with those that went. Pure: the caller gives the time and performs the verdict.
 *
 * Invariant: more than the limits allow is never released, except by the operator's word.
 */
import type {HaltKind} from '../base/errors.ts';

export interface DeleteLimits {
  /** More than this many are never deleted in one go. */
  count: number;
  /** More than this share (0..1) of the tree is not deleted in one go … */
  share: number;
  /** … once a burst has more than this many; so many go at once in a live link. */
  shareFrom: number;
}

export const NO_DELETE_LIMITS: DeleteLimits = {count: Infinity, share: 1, shareFrom: Infinity};

export type Verdict = {go: true} | {go: false; kind: HaltKind; count: number; limit: number};

/**
 * Judges a whole burst.
 * @param deleted entries that are gone, net of renames
 * @param treeCount entries of the tree at the start of the burst
 * @param confirmed deletes that the operator has agreed to
 */
export function judgeDeletes(deleted: number, treeCount: number, limits: DeleteLimits, confirmed: number): Verdict {
  if (deleted === 0 || deleted <= confirmed) return {go: true};
  if (limits.count >= Number.MAX_SAFE_INTEGER && limits.share >= 1) return {go: true}; // the operator's word
  if (treeCount >= 2 && deleted >= treeCount)
    return {go: false, kind: 'root-emptied', count: deleted, limit: treeCount - 1};
  if (deleted > limits.count) return {go: false, kind: 'delete-count', count: deleted, limit: limits.count};
  const shareLimit = Math.floor(limits.share * treeCount);
  if (limits.share < 1 && deleted > limits.shareFrom && deleted > shareLimit)
    return {go: false, kind: 'delete-share', count: deleted, limit: shareLimit};
  return {go: true};
}

export const BURST_QUIET_MS = 1_000;
export const BURST_HELD_MS_MAX = 30_000;

/** One burst of deletes as it goes on. */
export interface Burst {
  startMs: number;
  treeCount: number;
  /** Released at once. */
  released: number;
  held: number;
  heldSinceMs: number;
  lastMs: number;
}

function isOver(burst: Burst | undefined, nowMs: number): boolean {
  return burst === undefined || (burst.held === 0 && nowMs - burst.lastMs >= BURST_QUIET_MS);
}

/** What came at or after this time, and goes now, was no part of the tree that the burst is judged against. */
export function youngSinceMs(burst: Burst | undefined, nowMs: number): number {
  return (burst === undefined || isOver(burst, nowMs) ? nowMs : burst.startMs) - BURST_QUIET_MS;
}

/** The burst after `count` more deletes; a new one when the last is over. */
export function noteDeletes(
  burst: Burst | undefined,
  count: number,
  treeCount: number,
  nowMs: number,
  limits: DeleteLimits,
): {burst: Burst; isHeld: boolean} {
  const current =
    burst === undefined || isOver(burst, nowMs)
      ? {startMs: nowMs, treeCount: treeCount + count, released: 0, held: 0, heldSinceMs: 0, lastMs: nowMs}
      : burst;
  const isHeld = current.held > 0 || current.released + count > limits.shareFrom;
  if (!isHeld) return {burst: {...current, released: current.released + count, lastMs: nowMs}, isHeld};
  const heldSinceMs = current.held > 0 ? current.heldSinceMs : nowMs;
  return {burst: {...current, held: current.held + count, heldSinceMs, lastMs: nowMs}, isHeld};
}

/** When a burst with held deletes is to be judged. */
export function judgeAtMs(burst: Burst): number {
  return Math.min(burst.lastMs + BURST_QUIET_MS, burst.heldSinceMs + BURST_HELD_MS_MAX);
}
