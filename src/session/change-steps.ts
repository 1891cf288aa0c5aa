/**
 * What the target has to do for the changes of one look, and in which order it can. Pure.
 *
 * Invariants: a directory comes before what is put or moved into it; a delete comes last, so that nothing goes that is
 * only being moved.
 */
import {metaOf, sameInode, type Entry} from '../model/entry.ts';
import {parentOf, ROOT, type RelPath} from '../model/path.ts';
import {treeEntryOf} from '../model/tree.ts';
import {isTypeInView, type View} from '../model/view.ts';
import {planPath, type Have, type Step} from '../reconcile/plan-path.ts';
import type {Change, ScanResult} from '../scan/pass.ts';

type Move = Extract<Change, {kind: 'renamed' | 'exchanged'}>;

export interface OrderedChanges {
  /** In directories that the target has, new directories themselves among them. */
  first: Change[];
  /** Directories that are new, without those below `first`'s moved ones. */
  newDirs: RelPath[];
  /** From anywhere into new directories, and what moves on from there. */
  moves: Move[];
  /** At or below what was moved into a new directory. */
  last: Change[];
  lastNewDirs: RelPath[];
  gone: Extract<Change, {kind: 'gone'}>[];
}

/** Sorts the changes of a look by what must be there before them. */
export function orderChanges({changes, newDirs}: Pick<ScanResult, 'changes' | 'newDirs'>): OrderedChanges {
  const ordered: OrderedChanges = {first: [], newDirs: [], moves: [], last: [], lastNewDirs: [], gone: []};
  const isNew = new Set(newDirs);
  const isBelowNew = (path: RelPath): boolean => {
    for (let above = path; above !== ROOT;) if (isNew.has((above = parentOf(above)))) return true;
    return false;
  };
  const left = new Set<RelPath>();
  const arrived = new Set<RelPath>();
  const hasArrived = (path: RelPath): boolean => {
    if (arrived.size > 0) for (let at = path; at !== ROOT; at = parentOf(at)) if (arrived.has(at)) return true;
    return false;
  };
  // Into a new directory, or out of one, where only an earlier move can have brought it; or what such a move makes way for.
  const isLateMove = ({path, to}: Move): boolean =>
    [path, to].some((at) => isBelowNew(at) || hasArrived(at)) || left.has(to);
  const lateMoves = new Set<Change>();
  for (const change of changes)
    if (change.kind === 'put' && change.from !== undefined && isBelowNew(change.path)) left.add(change.from);
    else if ((change.kind === 'renamed' || change.kind === 'exchanged') && isLateMove(change)) {
      lateMoves.add(change);
      left.add(change.path);
      arrived.add(change.to);
      if (change.kind === 'exchanged') arrived.add(change.path);
    }
  // What took the place of something that moves late waits until that has left, and what is put where it goes, or below,
  // until it is there.
  const isLate = (path: RelPath): boolean => isBelowNew(path) || left.has(path) || hasArrived(path);
  for (const change of changes) {
    if (change.kind === 'gone') ordered.gone.push(change);
    else if (change.kind === 'put') (isLate(change.path) ? ordered.last : ordered.first).push(change);
    else if (lateMoves.has(change)) ordered.moves.push(change);
    else ordered.first.push(change);
  }
  for (const dir of newDirs) (isLate(dir) ? ordered.lastNewDirs : ordered.newDirs).push(dir);
  return ordered;
}

/** @param view as the link compares; @returns undefined where the target has nothing to do */
export function stepOf(change: Change, view: View): Step | undefined {
  if (change.kind === 'renamed' || change.kind === 'exchanged')
    return isMoveInView(change, view) ? moveStep(change) : undefined;
  if (change.kind === 'gone')
    return planPath(change.path, undefined, haveOf(change.before, change.count - 1, view), view);
  const {before: known, after, from} = change;
  // One name of a file with others became a file of its own: the target's must not be changed under all of its names.
  const isApart = known !== undefined && known.type !== 'dir' && known.nlink > 1 && !sameInode(known, after);
  const before = known === undefined || isApart ? undefined : haveOf(known, 0, view);
  const step = planPath(change.path, treeEntryOf(after, view), before, view);
  return step?.kind === 'file' ? {...step, from} : step;
}

/** What the target never had does not move there; what it took the place of is found by the next comparison. */
function isMoveInView(change: Move, view: View): boolean {
  return isTypeInView(change.entry.type, view) && (change.kind === 'renamed' || isTypeInView(change.other.type, view));
}

/** What the target is asked for a rename or an exchange that the scanner noticed. */
export function moveStep(change: Move): Step {
  const {kind, path, to, entry} = change;
  if (kind === 'exchanged') return {kind: 'op', path, op: {kind: 'exchange', path, to}, destroys: 0};
  return {kind: 'op', path, op: {kind: 'rename', path, to, type: entry.type, content: entry.content}, destroys: 0};
}

/**
 * The moves of a scan, of files that were changed too among them, each after the directories above its new place that are new too.
 * @param sinceSeq the state's sequence before the scan: what is younger and has one version was found by it
 */
export function* moveSteps(
  {changes, newDirs}: Pick<ScanResult, 'changes' | 'newDirs'>,
  source: {entryAt: (path: RelPath) => Entry | undefined; view: View},
  sinceSeq: number,
): Generator<Step> {
  const {entryAt, view} = source;
  const made = new Set<RelPath>();
  const inPlaces = new Set(newDirs);
  const dirsAbove = function* (to: RelPath): Generator<Step> {
    const path = parentOf(to);
    if (path === ROOT || made.has(path)) return;
    made.add(path);
    const entry = entryAt(path);
    if (entry === undefined || entry.seq <= sinceSeq) return;
    if (entry.version[0]?.counter !== 1 && !inPlaces.has(path)) return;
    yield* dirsAbove(path);
    yield {kind: 'op', path, op: {kind: 'make-dir', path, meta: metaOf(entry)}, destroys: 0};
  };
  for (const change of changes) {
    if (change.kind === 'gone' || (change.kind === 'put' && change.from === undefined)) continue;
    const step = stepOf(change, view);
    if (step === undefined || step.destroys > 0) continue; // a file that was emptied too: the comparison has it judged
    yield* dirsAbove(change.kind === 'put' ? change.path : change.to);
    yield step;
  }
}

function haveOf(entry: Entry, count: number, view: View): Have {
  return {...treeEntryOf(entry, view), count};
}
