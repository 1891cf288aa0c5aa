/**
 * A file that holds other bytes than the state says, under the times that the state says: brings the state up to date.
 *
 * Not a look at the file: who has read it says what it holds. Invariant: every name of the file is changed alike.
 */
import type {Digest} from '../model/digest.ts';
import {sameInode, sameTime, type Entry} from '../model/entry.ts';
import {joinPath} from '../model/path.ts';
import {bumped} from '../model/version.ts';
import type {EntryStore} from './entry-store.ts';
import type {Change, KnownEntry} from './pass.ts';

/**
 * @param entry as it was when it was read
 * @param names every row with its inode number
 * @returns a change for each name; none for one that is another file, or has changed, by now
 */
export function takeContent(
  {entry, names, content}: {entry: Entry; names: readonly KnownEntry[]; content: Digest},
  {store, agent}: {store: EntryStore; agent: string},
): Change[] {
  return names.flatMap((before): Change[] => {
    const isThis = before.type === 'file' && sameInode(before, entry) && sameTime(before.ctime, entry.ctime);
    if (!isThis || before.content?.equals(content) === true) return [];
    const after = {...before, content, seq: store.nextSeq(), version: bumped(before.version, agent)};
    store.put(before.parentId, after);
    return [{kind: 'put', path: joinPath(store.pathOf(before.parentId), before.name), before, after}];
  });
}
