/**
 * What a worker listed, with owners mapped as the view says: from here on state, digests and operations know mapped
 * ids alone.
 */
import type {IdMap} from '../model/ids.ts';
import {readListings, type ListedEntry, type Listing} from './listing.ts';

/** The records of a packed buffer, in order. */
export function* readMapped(packed: Uint8Array, ids: IdMap): Generator<Listing> {
  for (const listing of readListings(packed)) yield ids.isEmpty ? listing : mapped(listing, ids);
}

function mapped(listing: Listing, ids: IdMap): Listing {
  return {
    ...listing,
    ownStat: () => mappedStat(listing.ownStat(), ids),
    ownAttrs: ids.mapAttrs(listing.ownAttrs),
    *entries() {
      for (const listed of listing.entries()) yield mappedEntry(listed, ids);
    },
  };
}

function mappedEntry(listed: ListedEntry, ids: IdMap): ListedEntry {
  return {...listed, attrs: ids.mapAttrs(listed.attrs), stat: () => mappedStat(listed.stat(), ids)};
}

function mappedStat<S extends {uid: number; gid: number}>(stat: S, ids: IdMap): S {
  return {...stat, uid: ids.map(stat.uid), gid: ids.map(stat.gid)};
}
