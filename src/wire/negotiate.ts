/**
 * Which version and features two agents speak, from the two `hello`s. Pure, and the same on both sides.
 */
import {protocolFault} from './fault.ts';

/**
 * History:
 * 1  first version.
 *
 * A change of any layout, of LEAF_BYTES or of the tree digest makes a new version. An agent speaks its own version and
 * the one before; what is only added goes into a feature or into an extension that may be ignored.
 */
export const PROTOCOL_VERSION = 1;
export const PROTOCOL_VERSION_MIN = 1;

/**
 * Features of this version: `follow` (the messages `follow-volume` and `volume-source`, and links that are opened to
 * be compared alone), `resume` (the target keeps what it has of a large file over the end of a link, and tells its source:
 * `partial-files`, `ask-leaves`, ops of kind `kept`), `verify-files` (the target reads files once more when it is asked
 * to), `same-leaves` (leaves that are as the base has them come as runs of digests: `file-same`), `zstd` (frames that cost credit may come compressed, zstd.ts). Reserved: `xattrs`, `special`, `two-way`.
 */
export const FEATURES = ['follow', 'resume', 'same-leaves', 'verify-files', 'zstd'] as const;
export type Feature = (typeof FEATURES)[number];

export interface Terms {
  versionMin: number;
  versionMax: number;
  features: readonly string[];
}

export const OWN_TERMS: Terms = {
  versionMin: PROTOCOL_VERSION_MIN,
  versionMax: PROTOCOL_VERSION,
  features: FEATURES,
};

/**
 * @returns the newest version both speak, and the features both named, sorted
 * @throws PROTOCOL when there is no common version: one of the two agents must be updated
 */
export function negotiate(mine: Terms, theirs: Terms): {version: number; features: string[]} {
  const version = Math.min(mine.versionMax, theirs.versionMax);
  if (version < Math.max(mine.versionMin, theirs.versionMin)) {
    const side = mine.versionMax < theirs.versionMin ? 'this agent' : 'the peer';
    const found = `${theirs.versionMin} to ${theirs.versionMax} (update ${side})`;
    throw protocolFault('hello', 'protocol version', found, `${mine.versionMin} to ${mine.versionMax}`);
  }
  const features = [...new Set(mine.features)].filter((feature) => theirs.features.includes(feature));
  return {version, features: features.sort()};
}
