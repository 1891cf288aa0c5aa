/** What this process can set on the files of a volume, and so can hold of what a source has. */
import {XATTR_CLASSES} from '../model/attrs.ts';
import type {View, ViewLimits} from '../model/view.ts';

const UNPRIVILEGED_XATTRS = ['user', 'acl']; // others can be neither seen nor set

export function ownLimits(): ViewLimits {
  const isRoot = process.geteuid?.() === 0;
  return {
    timePrecisionNs: 1,
    xattrs: isRoot ? XATTR_CLASSES : UNPRIVILEGED_XATTRS,
    special: 'keep',
    devices: isRoot,
    owners: isRoot,
    setuid: true,
  };
}

/** All that this process can read and compare, but devices. */
export function ownView(ignore: readonly string[]): View {
  return {...ownLimits(), devices: false, ignore: [...ignore], ids: []};
}
