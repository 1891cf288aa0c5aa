/**
 * Makes the target's hard-link groups those of the source: which names must be linked, which taken apart. Pure.
 */
import {isSpecial, metaOf, sameMeta, type Entry} from '../model/entry.ts';
import type {Op} from '../model/op.ts';
import {parentOf, ROOT, type RelPath} from '../model/path.ts';
import {rdevOf} from '../model/tree.ts';
import type {Step} from '../reconcile/plan-path.ts';

type OpStep = Extract<Step, {kind: 'op'}>;

/**
 * @param ours groups of at least two paths each, sorted
 * @param theirs the same of the target; lists that share their first path are one group
 */
export function repairGroups(
  ours: readonly RelPath[][],
  theirs: readonly RelPath[][],
  entryAt: (path: RelPath) => Entry | undefined,
): OpStep[] {
  const ourLeader = leaders(ours);
  const theirLeader = leaders(theirs);
  const steps: OpStep[] = [];
  const takenApart = new Set<RelPath>();
  for (const path of theirLeader.keys()) {
    const step = takeApart(path, {ourLeader, theirLeader}, entryAt);
    if (step === undefined) continue;
    steps.push(step);
    takenApart.add(path);
  }
  for (const [path, leader] of ourLeader) {
    if (path === leader) continue;
    const isLinked =
      theirLeader.has(path) && theirLeader.get(path) === theirLeader.get(leader) && !takenApart.has(leader);
    if (isLinked || !isOfOneLook(entryAt(path), entryAt(leader))) continue;
    // What the target lacks, or has otherwise, below what cannot be read cannot be sent: a link to it would not last.
    if (isBelowIncomplete(path, entryAt) || isBelowIncomplete(leader, entryAt)) continue;
    steps.push({kind: 'op', path, op: {kind: 'link', path, to: leader}, destroys: 0});
  }
  return steps;
}

/**
 * Whether two names of a file were seen with the same content and metadata. Else one was changed since the other was seen,
 * which may lie where nothing can be read: linked, they would be taken apart and linked again without end.
 */
function isOfOneLook(one: Entry | undefined, other: Entry | undefined): boolean {
  return one !== undefined && other !== undefined && one.sizeBytes === other.sizeBytes && sameMeta(one, other);
}

function isBelowIncomplete(path: RelPath, entryAt: (path: RelPath) => Entry | undefined): boolean {
  for (let at = path; at !== ROOT;) if (entryAt((at = parentOf(at)))?.isIncomplete === true) return true;
  return false;
}

/** Names that the target links to others than we do: what is done to one of them would be done to those. */
export function misgrouped(ours: readonly RelPath[][], theirs: readonly RelPath[][]): Set<RelPath> {
  const [ourLeader, theirLeader] = [leaders(ours), leaders(theirs)];
  const ourLeadersOf = new Map<RelPath, Set<RelPath>>();
  for (const [path, leader] of theirLeader) {
    const found = ourLeadersOf.get(leader) ?? new Set();
    ourLeadersOf.set(leader, found.add(ourLeader.get(path) ?? path));
  }
  const isMixed = (leader: RelPath): boolean => (ourLeadersOf.get(leader)?.size ?? 1) > 1;
  return new Set([...theirLeader].flatMap(([path, leader]) => (isMixed(leader) ? [path] : [])));
}

/** A name that the target links to a file of another group gets a copy of its own. */
function takeApart(
  path: RelPath,
  leaders: {ourLeader: Map<RelPath, RelPath>; theirLeader: Map<RelPath, RelPath>},
  entryAt: (path: RelPath) => Entry | undefined,
): OpStep | undefined {
  const {ourLeader, theirLeader} = leaders;
  const theirs = theirLeader.get(path);
  if (theirs === undefined || theirs === path) return undefined;
  const own = ourLeader.get(path);
  if (own !== undefined && own === ourLeader.get(theirs)) return undefined;
  if (own !== undefined && own !== path) return undefined; // it will be linked to its own leader, which takes it out
  const entry = entryAt(path);
  const op = entry && ownEntry(path, entry);
  return op && {kind: 'op', path, op, destroys: 0};
}

/** Makes what is at a path an entry of its own. */
export function ownEntry(path: RelPath, entry: Entry): Op | undefined {
  const {type, sizeBytes, content, linkTarget} = entry;
  const meta = metaOf(entry);
  if (type === 'symlink') return {kind: 'put-symlink', path, meta, target: linkTarget};
  if (isSpecial(type)) return {kind: 'put-special', path, meta, type, rdev: rdevOf(entry)};
  if (type === 'dir' || content === undefined) return undefined;
  return {kind: 'put-file', path, meta, sizeBytes, content, source: {from: 'copy', path}};
}

function leaders(groups: readonly RelPath[][]): Map<RelPath, RelPath> {
  const leaderOf = new Map<RelPath, RelPath>();
  for (const group of groups) {
    const first = group[0] as RelPath;
    const leader = leaderOf.get(first) ?? first;
    for (const path of group) leaderOf.set(path, leader);
  }
  return leaderOf;
}
