/**
 * Makes the target's hard-link groups those of the source: which names must be linked, which taken apart. Pure.
 */
import type {Entry} from '../model/entry.ts';
import {metaOf} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {Step} from '../reconcile/plan-path.ts';

/**
 * @param ours groups of at least two paths each, sorted
 * @param theirs the same of the target; lists that share their first path are one group
 */
export function repairGroups(
  ours: readonly RelPath[][],
  theirs: readonly RelPath[][],
  entryAt: (path: RelPath) => Entry | undefined,
): Step[] {
  const ourLeader = leaders(ours);
  const theirLeader = leaders(theirs);
  const steps: Step[] = [];
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
    if (!isLinked) steps.push({kind: 'op', path, op: {kind: 'link', path, to: leader}, destroys: 0});
  }
  return steps;
}

/** A name that the target links to a file of another group gets a copy of its own. */
function takeApart(
  path: RelPath,
  leaders: {ourLeader: Map<RelPath, RelPath>; theirLeader: Map<RelPath, RelPath>},
  entryAt: (path: RelPath) => Entry | undefined,
): Step | undefined {
  const {ourLeader, theirLeader} = leaders;
  const theirs = theirLeader.get(path);
  if (theirs === undefined || theirs === path) return undefined;
  const own = ourLeader.get(path);
  if (own !== undefined && own === ourLeader.get(theirs)) return undefined;
  if (own !== undefined && own !== path) return undefined; // it will be linked to its own leader, which takes it out
  const entry = entryAt(path);
  if (entry?.type !== 'file' || entry.content === undefined) return undefined;
  const {sizeBytes, content} = entry;
  const op = {
    kind: 'put-file' as const,
    path,
    meta: metaOf(entry),
    sizeBytes,
    content,
    source: {from: 'copy' as const, path},
  };
  return {kind: 'op', path, op, destroys: 0};
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
