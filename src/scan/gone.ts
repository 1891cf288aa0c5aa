/**
 * What becomes of names that a pass found missing.
 *
 * Invariant: a listing read during a rename may miss a name that is there: only what a second look misses too is gone.
 */
import {ENOENT, ENOTDIR} from '../linux/linux-error.ts';
import {joinPath, nameOf, parentOf} from '../model/path.ts';
import type {EntryStore} from './entry-store.ts';
import type {Listing} from './listing.ts';
import {doubtOtherNames, type LookedAt, type Pass} from './pass.ts';

const DIRS_AT_ONCE = 64;

/** Looks once more at all that is missing; what is there after all is not gone. */
export async function confirmGone(pass: Pass, lookAt: (dirs: LookedAt[]) => Promise<Iterable<Listing>>): Promise<void> {
  const byDir = Map.groupBy(pass.gone.keys(), parentOf);
  const dirs = [...byDir].map(([path, paths]) => ({path, names: paths.map(nameOf)}));
  for (let index = 0; index < dirs.length; index += DIRS_AT_ONCE) {
    for (const listing of await lookAt(dirs.slice(index, index + DIRS_AT_ONCE))) {
      if (listing.status === 'unreadable' && listing.errno !== ENOENT && listing.errno !== ENOTDIR) {
        for (const path of byDir.get(listing.path) ?? []) pass.gone.delete(path);
      }
      if (listing.status === 'unreadable') continue;
      for (const listed of listing.entries()) {
        if (listed.state === 'absent') continue;
        pass.gone.delete(joinPath(listing.path, listed.name));
        pass.result.missed.push(listing.path); // it came back, or the directory is another by now
      }
    }
  }
}

/** What did not turn up anywhere is gone. */
export function dropGone(pass: Pass, store: EntryStore): void {
  for (const [path, before] of pass.gone) {
    const parentId = store.dirIdOf(parentOf(path));
    const known = parentId === undefined ? undefined : store.get(parentId, nameOf(path));
    if (parentId === undefined || known === undefined || known.ino !== before.ino) continue; // went with its parent
    doubtOtherNames(known, pass, store);
    const count = store.remove(parentId, known.name);
    if (pass.isDetailed) pass.result.changes.push({kind: 'gone', path, before, count});
  }
}
