/**
 * In which view a volume's digests were made, and by which map its owners: kept in `volume.db`, so that another one is
 * noticed.
 */
import {DIGEST_BYTES, TREE_DIGEST_VERSION} from '../model/digest.ts';
import type {Side} from '../model/tree.ts';
import {PLAIN_VIEW, viewDigest, type View} from '../model/view.ts';
import type {Database} from './database.ts';
import {LOOK_AGAIN} from './volume-schema.ts';

/** The view of the last time; the plain one where what is stored is not what was written. */
export function storedView(db: Database): View {
  const [stored, known] = [db.meta('view-json'), db.meta('view')];
  return (
    (typeof stored === 'string' && known instanceof Uint8Array ? viewFrom(stored, known) : undefined) ?? PLAIN_VIEW
  );
}

/** @param known ends in the digest of the view */
export function viewFrom(text: string, known: Uint8Array): View | undefined {
  try {
    const view = {...PLAIN_VIEW, ...(JSON.parse(text) as View)};
    return Buffer.from(known).subarray(-DIGEST_BYTES).equals(viewDigest(view)) ? view : undefined;
  } catch {
    return undefined; // damaged: the digests are made again
  }
}

/** @returns whether it was another one: then no stored digest holds */
export function storeView(db: Database, side: Side, view: View): boolean {
  const known = db.meta('view');
  const wanted = Buffer.concat([Buffer.from([TREE_DIGEST_VERSION]), Buffer.from(side), viewDigest(view)]);
  if (known instanceof Uint8Array && wanted.equals(known)) return false;
  db.setMeta('view', wanted);
  db.setMeta('view-json', JSON.stringify(view));
  return true;
}

/** @returns whether owners were mapped otherwise: then all entries will be looked at again */
export function storeIds(db: Database, ids: readonly string[]): boolean {
  const wanted = JSON.stringify(ids);
  if ((db.meta('ids') ?? '[]') === wanted) return false;
  db.begin();
  db.exec(LOOK_AGAIN);
  db.setMeta('ids', wanted);
  return true;
}
