/**
 * Which other names of hard-linked files are to be looked at after a look: what changed one of them has changed all. Pure.
 */
import type {Entry, FileTime} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {Change, ScanResult} from '../scan/pass.ts';

/** What the state knows of names. */
export interface NamesOfState {
  entryAt(path: RelPath): Entry | undefined;
  /** Names of the same inode. */
  namesOf(entry: Entry): RelPath[];
}

/**
 * @param taken all changes of the look
 * @param found of these, what came last: the other names of that
 */
export function namesToLookAt(
  taken: readonly Change[],
  found: Pick<ScanResult, 'changes' | 'stale'>,
  state: NamesOfState,
): RelPath[] {
  const seen = new Set(taken.map(({path}) => path));
  const others = new Set<RelPath>(found.stale.filter((path) => !seen.has(path)));
  for (const file of linkedFiles(found.changes)) {
    // Seen in this look too, but before it was changed under another name.
    const isBehind = (path: RelPath): boolean => isEarlier(state.entryAt(path)?.ctime, file.ctime);
    for (const path of state.namesOf(file)) if (!seen.has(path) || isBehind(path)) others.add(path);
  }
  return [...others];
}

/** The files with several names among the changes, each once, as it was seen last: it may have 65,000 names, all of them changed. */
function linkedFiles(changes: readonly Change[]): Entry[] {
  const files = new Map<string, Entry>();
  for (const change of changes) {
    if (change.kind !== 'put' && change.kind !== 'gone') continue;
    // What was there may have been changed under this name, before it went or another thing took its place.
    for (const entry of change.kind === 'put' ? [change.before, change.after] : [change.before]) {
      const wasLinked = (entry?.nlink ?? 1) > 1 || (change.before?.nlink ?? 1) > 1;
      if (entry === undefined || entry.type === 'dir' || !wasLinked) continue;
      const key = `${entry.ino}/${entry.btime.s}/${entry.btime.ns}`;
      const known = files.get(key);
      if (known === undefined || isEarlier(known.ctime, entry.ctime)) files.set(key, entry);
    }
  }
  return [...files.values()];
}

function isEarlier(time: FileTime | undefined, than: FileTime): boolean {
  return time !== undefined && (time.s < than.s || (time.s === than.s && time.ns < than.ns));
}
