/**
 * What is told of a file that changes each time it is read. Pure.
 */
import {showPath, type RelPath} from '../model/path.ts';
import type {ProblemCode} from '../model/problem.ts';
import type {HotRead} from '../model/reading.ts';

export interface RestlessTold {
  code: Extract<ProblemCode, 'changing' | 'torn'>;
  /** One sentence. */
  message: string;
}

/** @param of `forMs`: since it was first read in vain; `hot`: what has arrived, if anything has */
export function restlessSentence(path: RelPath, {forMs, hot}: {forMs: number; hot: HotRead | undefined}): RestlessTold {
  const shown = showPath(path);
  if (hot?.as === 'torn') {
    const message = `${shown} changes while it is read: its copy on the target mixes versions from ${timeOf(hot.fromMs)} to ${timeOf(hot.toMs)}; a whole one replaces it when it rests`;
    return {code: 'torn', message};
  }
  const seconds = Math.round(forMs / 1_000);
  const begins = `${shown} has changed each time it was read, for ${seconds} s`;
  if (hot !== undefined) {
    const message = `${begins}; the target has it whole, as it was at ${timeOf(hot.fromMs)}, and gets newer versions until it rests`;
    return {code: 'changing', message};
  }
  const advice = 'to have it before, set hot: torn, or keep it on XFS or btrfs, or set hooks and flush --quiesce';
  return {code: 'changing', message: `${begins}; its last whole version stays on the target until it rests; ${advice}`};
}

/** With milliseconds, UTC: it stands in a list that is read later, and elsewhere. */
function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
