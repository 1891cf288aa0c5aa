/**
 * What a source has and its target does not take: which kinds, how many entries, and in which words it is told. Pure.
 *
 * Not what the sender's operator leaves out by `special: skip` or `ignore`: that is meant so.
 */
import type {RelPath} from './path.ts';
import type {ProblemCode} from './problem.ts';
import {XATTR_CLASSES, type XattrClass} from './attrs.ts';
import {showPath} from './path.ts';
import type {LimitCause, LimitKind, View} from './view.ts';

/** So far entries of a kind are counted. */
export const LEFT_OUT_COUNT_MAX = 10_000;
export const LEFT_OUT_EXAMPLES = 3;

/** Flags of chattr(1) are never carried: a copy that nobody may change could not be kept equal. */
export type LeftOutKind = LimitKind | 'flags';

export interface LeftOut {
  kind: LeftOutKind;
  /** At most LEFT_OUT_COUNT_MAX + 1, which stands for more. */
  count: number;
  examples: RelPath[];
}

/** What of the offered view is not in the one that was agreed on, and what no view has. */
export function lostKinds(offered: View, agreed: View): LeftOutKind[] {
  const lost: LeftOutKind[] = ['flags'];
  if (offered.special === 'keep' && agreed.special === 'skip') lost.push('special');
  for (const kind of ['devices', 'setuid', 'owners', 'modes'] as const)
    if (offered[kind] && !agreed[kind]) lost.push(kind);
  if (agreed.timePrecisionNs > offered.timePrecisionNs) lost.push('timePrecisionNs');
  const isLost = (each: XattrClass): boolean => offered.xattrs.includes(each) && !agreed.xattrs.includes(each);
  return [...lost, ...XATTR_CLASSES.filter(isLost)];
}

const CODE: Record<LeftOutKind, ProblemCode> = {
  flags: 'attributes',
  special: 'not-carried',
  devices: 'not-carried',
  setuid: 'refused',
  owners: 'owner-refused',
  modes: 'not-carried',
  timePrecisionNs: 'not-carried',
  user: 'attributes',
  trusted: 'attributes',
  acl: 'attributes',
  capability: 'attributes',
};

/** For one, and for more; a number goes before. */
const WHAT: Record<LeftOutKind, [one: string, more: string]> = {
  flags: ['entry arrives without its flags of chattr', 'entries arrive without their flags of chattr'],
  special: ['FIFO or socket is not carried', 'FIFOs or sockets are not carried'],
  devices: ['device is not carried', 'devices are not carried'],
  setuid: ['file arrives without its setuid or setgid bit', 'files arrive without their setuid or setgid bits'],
  owners: ['entry does not get its owner', 'entries do not get their owners'],
  modes: ['entry does not get its permissions', 'entries do not get their permissions'],
  timePrecisionNs: ['entry has its time cut', 'entries have their times cut'],
  user: ['entry arrives without its user attributes', 'entries arrive without their user attributes'],
  trusted: ['entry arrives without its trusted attributes', 'entries arrive without their trusted attributes'],
  acl: ['entry arrives without its ACLs', 'entries arrive without their ACLs'],
  capability: ['file arrives without its capabilities', 'files arrive without their capabilities'],
};

export interface LeftOutReason {
  cause: LimitCause | undefined;
  /** What the target cuts times to. */
  timePrecisionNs: number;
  /** What its operator can do where it is the receiver's policy, as the end of a sentence. */
  advice: string;
}

/** @returns the problem; `path` is none that an entry can have */
export function leftOutProblem(
  left: LeftOut,
  reason: LeftOutReason,
): {path: RelPath; code: ProblemCode; message: string} {
  const {kind, count, examples} = left;
  const isMore = count > LEFT_OUT_COUNT_MAX;
  const number = isMore ? `more than ${LEFT_OUT_COUNT_MAX}` : String(count);
  const shown = examples.map((path) => showPath(path)).join(', ');
  const what = WHAT[kind][count === 1 ? 0 : 1];
  const rest = count > examples.length ? ' …' : '';
  return {path: `/${kind}`, code: CODE[kind], message: `${number} ${what} (${shown}${rest}): ${whyOf(kind, reason)}`};
}

function whyOf(kind: LeftOutKind, {cause, timePrecisionNs, advice}: LeftOutReason): string {
  if (kind === 'flags')
    return 'immutable, append-only and nodump are not carried; chattr -i -a -d, or ignore these paths';
  if (kind === 'timePrecisionNs') return `the target's filesystem keeps times to ${spellPrecision(timePrecisionNs)}`;
  switch (cause) {
    case 'policy':
      return `the receiver does not accept that; ${advice}`;
    case 'privilege':
      return 'the target does not run as root';
    case 'filesystem':
      return "the target's filesystem, or what this user may do there, does not allow it";
    default:
      return 'the target does not take it';
  }
}

function spellPrecision(ns: number): string {
  if (ns >= 1e9) return `${ns / 1e9} s`;
  return ns >= 1e6 ? `${ns / 1e6} ms` : ns >= 1e3 ? `${ns / 1e3} µs` : `${ns} ns`;
}

/** Which key or option would let a kind in. */
export function acceptWord(kind: LeftOutKind, accepted: readonly string[]): {key: string; option: string} {
  switch (kind) {
    case 'devices':
    case 'setuid':
      return {key: `${kind}: true`, option: `--${kind}`};
    case 'owners':
      return {key: 'owners: any', option: '--owners'};
    default: {
      const classes = XATTR_CLASSES.filter((each) => each === kind || accepted.includes(each));
      return {key: `xattrs: [${classes.join(', ')}]`, option: `--xattrs ${classes.join(',')}`};
    }
  }
}
