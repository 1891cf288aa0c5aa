/**
 * What a link leaves out, as problems with what the operator can do about it.
 */
import {acceptWord, leftOutProblem} from '../model/left-out.ts';
import type {PathProblem} from '../scan/scan-problems.ts';
import type {SourceLink} from '../session/source-link.ts';

/** @param adviceOf what lets a kind in, from the key of a configuration and the option of `sync` */
export function leftOutProblems(
  link: SourceLink,
  adviceOf: (words: {key: string; option: string}) => string,
): PathProblem[] {
  const accepted = link.holding?.limits.xattrs ?? [];
  return link
    .leftOut()
    .map(({left, reason}) => leftOutProblem(left, {...reason, advice: adviceOf(acceptWord(left.kind, accepted))}));
}
