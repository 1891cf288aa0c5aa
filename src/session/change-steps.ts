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

const ROUNDS_MAX = 16; // what is left out of order by then is found by the next comparison

/** What is sent next: changes, or all or some of what lies below directories that are new. */
export type Part =
  | {kind: 'changes'; changes: readonly Change[]}
  | {kind: 'new'; dirs: readonly RelPath[]; types: 'all' | 'dirs' | 'others'};

export interface OrderedChanges {
  parts: Part[];
  /** Paths in new directories that come there by a move: not to be created. */
  moved: ReadonlySet<RelPath>;
}

/** What of a look waits for a move into a new directory, or on from there. */
interface Late {
  isLate: (path: RelPath) => boolean;
  /** In the order of the look. */
  moves: readonly Move[];
}

/** Sorts the changes of a look by what must be there before them. */
export function orderChanges({changes, newDirs}: Pick<ScanResult, 'changes' | 'newDirs'>): OrderedChanges {
  const {isLate, moves} = findLate({changes, newDirs});
  const lateMoves = new Set<Change>(moves);
  const last = changes.filter((change) => change.kind === 'put' && isLate(change.path));
  const isLast = new Set(last);
  const first = changes.filter((change) => change.kind !== 'gone' && !isLast.has(change) && !lateMoves.has(change));
  const earlyDirs = newDirs.filter((dir) => !isLate(dir));
  const lateDirs = newDirs.filter(isLate);
  const {parts, made} = moveParts(moves, {last, lateDirs});
  const comeByMove = last.filter((change) => change.kind === 'put' && change.from !== undefined);
  const hasMoves = moves.length > 0;
  return {
    parts: [
      {kind: 'changes', changes: first},
      ...(hasMoves ? [{kind: 'new', dirs: earlyDirs, types: 'dirs'} as const] : []),
      ...parts,
      {kind: 'new', dirs: earlyDirs, types: hasMoves ? 'others' : 'all'},
      {kind: 'changes', changes: last.filter(({path}) => !made.has(path))},
      {kind: 'new', dirs: [...made], types: 'others'},
      {kind: 'new', dirs: lateDirs.filter((dir) => !made.has(dir)), types: 'all'},
      {kind: 'changes', changes: changes.filter(({kind}) => kind === 'gone')},
    ],
    moved: new Set([...moves.map(({to}) => to), ...comeByMove.map(({path}) => path)]),
  };
}

/**
 * Moves that go into a new directory, or out of one, where only an earlier move can have brought it, or make way for such
 * a move or follow it; and what is put in their old places, where they go, or below.
 */
function findLate({changes, newDirs}: Pick<ScanResult, 'changes' | 'newDirs'>): Late {
  const isNew = new Set(newDirs);
  const left = new Set<RelPath>();
  const arrived = new Set<RelPath>();
  const hasAbove = (path: RelPath, found: ReadonlySet<RelPath>): boolean => {
    if (found.size > 0) for (let at = path; at !== ROOT;) if (found.has((at = parentOf(at)))) return true;
    return false;
  };
  const isIn = (path: RelPath): boolean => hasAbove(path, isNew) || arrived.has(path) || hasAbove(path, arrived);
  const isLate = (path: RelPath): boolean => left.has(path) || isIn(path);
  const found = new Set<Change>();
  const note = (change: Change): void => {
    if (change.kind === 'put') {
      // It is read from its new place, but is a delta to what the target has at the old one.
      if (change.from !== undefined && isLate(change.path)) left.add(change.from);
    } else if (change.kind !== 'gone' && (isIn(change.path) || isLate(change.to))) {
      found.add(change);
      left.add(change.path);
      arrived.add(change.to);
      if (change.kind === 'exchanged') arrived.add(change.path);
    }
  };
  // One that is late may make others late that were told before it.
  for (let round = 0, known = -1; round < ROUNDS_MAX && known < left.size; round++) {
    known = left.size;
    changes.forEach(note);
  }
  const moves = changes.filter((change): change is Move => found.has(change));
  return {isLate, moves};
}

/** Late moves in their order, each after the new directories above its new place that came where something left. */
function moveParts(
  moves: readonly Move[],
  {last, lateDirs}: {last: readonly Change[]; lateDirs: readonly RelPath[]},
): {parts: Part[]; made: Set<RelPath>} {
  const waiting = new Set(lateDirs);
  const made = new Set<RelPath>();
  const parts: Part[] = [];
  let changes: Change[] = [];
  for (const move of moves) {
    const above: RelPath[] = [];
    for (let at = move.to; at !== ROOT;) if (waiting.delete((at = parentOf(at)))) above.unshift(at);
    for (const dir of above) {
      made.add(dir);
      changes.push(...last.filter(({path}) => path === dir));
      parts.push({kind: 'changes', changes}, {kind: 'new', dirs: [dir], types: 'dirs'});
      changes = [];
    }
    changes.push(move);
  }
  return {parts: [...parts, {kind: 'changes', changes}], made};
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
