/**
 * What a source offers, and what a target holds of it: what its operator accepts, as far as its process may set it and
 * its filesystem keeps it.
 */
import {XATTR_CLASSES, type XattrClass} from '../model/attrs.ts';
import type {Holding, LimitCause, LimitKind, View} from '../model/view.ts';
import type {Accept} from '../config/agent-config.ts';
import type {HeldHere} from '../volume/probe-holds.ts';

const UNPRIVILEGED_XATTRS: readonly XattrClass[] = ['user', 'acl', 'capability']; // others can be neither seen nor set

/** What the operator of a source says of its view. */
export interface Offer {
  ignore: readonly string[];
  special: 'keep' | 'skip';
  /** As a view has them. */
  ids: readonly string[];
}

/** All that this process can read. */
export function offeredView({ignore, special, ids}: Offer): View {
  return {
    ignore: [...ignore],
    timePrecisionNs: 1,
    xattrs: isRoot() ? XATTR_CLASSES : UNPRIVILEGED_XATTRS,
    special,
    devices: special === 'keep',
    owners: true,
    modes: true,
    setuid: true,
    ids: [...ids],
  };
}

/** What a target holds, and why not the rest. */
export function holdingOf(accept: Accept, held: HeldHere): Holding {
  const causes: Holding['causes'] = {};
  const holds = (kind: LimitKind, isAccepted: boolean, isHeld: boolean): boolean => {
    if (!isAccepted) causes[kind] = 'policy';
    else if (!isHeld) causes[kind] = causeOf(kind);
    return isAccepted && isHeld;
  };
  const limits = {
    timePrecisionNs: held.timePrecisionNs,
    xattrs: XATTR_CLASSES.filter((each) => holds(each, accept.xattrs.includes(each), held.xattrs.includes(each))),
    special: holds('special', true, held.special) ? ('keep' as const) : ('skip' as const),
    devices: holds('devices', accept.devices, held.devices),
    owners: holds('owners', accept.owners === 'any', held.owners),
    modes: holds('modes', true, held.modes),
    setuid: holds('setuid', accept.setuid, true),
  };
  if (held.timePrecisionNs > 1) causes.timePrecisionNs = 'filesystem';
  return {limits, causes, owner: {uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0}};
}

const PRIVILEGED: readonly LimitKind[] = ['devices', 'owners', 'trusted', 'capability'];

function causeOf(kind: LimitKind): LimitCause {
  return !isRoot() && PRIVILEGED.includes(kind) ? 'privilege' : 'filesystem';
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}
