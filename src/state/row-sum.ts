/**
 * A checksum of an entry's row: of its place and of everything that is sent to a peer as it stands in the state, without
 * another look at the disk. A bit that flipped at rest would be taken for a change, or for a proof. Pure.
 *
 * Not in it: what is compared with the disk before it is used (inode, ctime, count of links), and the digest of the
 * content, which a file is read for. Not a defence against somebody. Mixed as in MurmurHash3's finaliser.
 */
import type {Database, SqlRow, SqlValue} from './database.ts';

/** The columns that are summed, in this order. */
export const SUMMED = [
  ...['parent', 'key', 'name', 'type', 'dir', 'mode', 'uid', 'gid', 'size', 'mtime_s', 'mtime_ns', 'rdev'],
  ...['link_target', 'incomplete', 'attrs'],
] as const;

/** @param at where in the row the summed columns stand @returns 32 bits, never 0 */
export function rowSum(row: readonly SqlValue[], at: readonly number[]): number {
  let sum = 0x9e3779b9;
  for (const index of at) sum = mixed(sum, row[index] as SqlValue);
  return sum >>> 0 || 1;
}

/** Whether a row is as it was written; one without a sum passes. */
export function isAsWritten(row: SqlRow, at: readonly number[], sumAt: number): boolean {
  const stored = row[sumAt] as number;
  return stored === 0 || stored === rowSum(row, at);
}

/** @throws STATE_DAMAGED of this database when a row of an entry is not as it was written */
export function checkRow(
  row: SqlRow,
  {at, sumAt, db}: {at: readonly number[]; sumAt: number; db: Pick<Database, 'damaged'>},
): void {
  if (!isAsWritten(row, at, sumAt)) throw db.damaged('a row of an entry is not as it was written');
}

function mixed(sum: number, value: SqlValue): number {
  if (typeof value === 'number') return word(word(sum, value | 0), Math.floor(value / 2 ** 32) | 0);
  if (value === null) return word(sum, 0x1b873593);
  let next = sum;
  if (typeof value === 'string')
    for (let index = 0; index < value.length; index++) next = word(next, value.charCodeAt(index));
  else for (const byte of value as Uint8Array) next = word(next, byte);
  return word(next, (value as string | Uint8Array).length);
}

function word(sum: number, bits: number): number {
  const next = Math.imul(sum ^ bits, 0x85ebca6b);
  return Math.imul(next ^ (next >>> 13), 0xc2b2ae35) ^ (next >>> 16);
}
