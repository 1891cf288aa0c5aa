/**
 * Many stats in one array of numbers, for crossing threads: objects cost ten times as much.
 *
 * Layout: STAT_NUMBERS numbers each, in the order of `pack`; the type is its index in ENTRY_TYPES, -1 for no stat.
 */
import {ENTRY_TYPES, type EntryType, type Stat} from './entry.ts';

const STAT_NUMBERS = 16;

export function packStats(stats: readonly (Stat | undefined)[]): Float64Array<ArrayBuffer> {
  const packed = new Float64Array(stats.length * STAT_NUMBERS);
  for (let index = 0; index < stats.length; index++) pack(packed, index * STAT_NUMBERS, stats[index]);
  return packed;
}

/** The stat at an index; undefined where there was none. */
export function unpackStat(packed: Float64Array, index: number): Stat | undefined {
  const at = index * STAT_NUMBERS;
  const number = (offset: number): number => packed[at + offset] as number;
  if (number(0) < 0) return undefined;
  return {
    type: ENTRY_TYPES[number(0)] as EntryType,
    mode: number(1),
    uid: number(2),
    gid: number(3),
    sizeBytes: number(4),
    allocatedBytes: number(5),
    mtime: {s: number(6), ns: number(7)},
    ctime: {s: number(8), ns: number(9)},
    btime: {s: number(10), ns: number(11)},
    ino: number(12),
    nlink: number(13),
    rdev: number(14),
    mountId: number(15),
  };
}

function pack(packed: Float64Array, at: number, stat: Stat | undefined): void {
  if (stat === undefined) {
    packed[at] = -1;
    return;
  }
  packed[at] = ENTRY_TYPES.indexOf(stat.type);
  packed[at + 1] = stat.mode;
  packed[at + 2] = stat.uid;
  packed[at + 3] = stat.gid;
  packed[at + 4] = stat.sizeBytes;
  packed[at + 5] = stat.allocatedBytes;
  packed[at + 6] = stat.mtime.s;
  packed[at + 7] = stat.mtime.ns;
  packed[at + 8] = stat.ctime.s;
  packed[at + 9] = stat.ctime.ns;
  packed[at + 10] = stat.btime.s;
  packed[at + 11] = stat.btime.ns;
  packed[at + 12] = stat.ino;
  packed[at + 13] = stat.nlink;
  packed[at + 14] = stat.rdev;
  packed[at + 15] = stat.mountId;
}
