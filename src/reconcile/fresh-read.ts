/**
 * When a file that was read is to be read once more, because it had changed only just before. Pure: the caller gives the
 * time.
 *
 * A store through mmap(2) changes a file's times only where the page was clean, and clocks of filesystems are coarse: for
 * a while after a change, other bytes may come under the same times. The time that counts is the ctime, which nobody can
 * set. Invariant: a file whose ctime was younger than `quietMs` when it was read is due once it may be at rest.
 */
import type {FileTime} from '../model/entry.ts';

/** Twice as long as the kernel leaves a page dirty (vm.dirty_expire_centisecs), after which a store shows in the times. */
export const QUIET_MS = 60_000;

const STEPS = 16; // due times in so many steps of `quietMs`: files that were read together are due together

/** @returns when to read it again (ms since the epoch); undefined for a file that was quiet long enough */
export function dueAfterRead(ctime: FileTime, nowMs: number, quietMs: number): number | undefined {
  return isYoung(ctime, nowMs, quietMs) ? dueFrom(nowMs, quietMs) : undefined;
}

/** When something is due that is to be read again after the quiet time. */
export function dueFrom(nowMs: number, quietMs: number): number {
  const stepMs = Math.max(1, Math.round(quietMs / STEPS));
  return Math.ceil((nowMs + quietMs) / stepMs) * stepMs;
}

/**
 * Whether a file has changed again since it was noted: then it was, or will be, read and noted anew. A time that lies
 * ahead says nothing: the clock was set back.
 */
export function isStillChanging(ctime: FileTime, nowMs: number, quietMs: number): boolean {
  return msOf(ctime) <= nowMs && isYoung(ctime, nowMs, quietMs);
}

function isYoung(ctime: FileTime, nowMs: number, quietMs: number): boolean {
  return nowMs - msOf(ctime) < quietMs;
}

function msOf({s, ns}: FileTime): number {
  return s * 1_000 + ns / 1e6;
}
