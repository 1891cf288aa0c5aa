/**
 * Which leaves of an open file lie in holes, so that they need not be read.
 *
 * Asked leaf after leaf, it makes about two system calls for each range of data. Invariant: a leaf that has any data
 * counts as data; whether the file changed meanwhile is its reader's question.
 */
import {hasHole, nextData, nextHole} from '../linux/extents.ts';
import {LEAF_BYTES} from '../model/digest.ts';
import type {Stat} from '../model/entry.ts';

export class LeafHoles {
  readonly #fd: number;
  readonly #sizeBytes: number;
  /** The range of data that was found last; between `#from` and it there is a hole. */
  #data = {from: 0, end: 0};
  #from = 0;

  constructor(fd: number, sizeBytes: number) {
    this.#fd = fd;
    this.#sizeBytes = sizeBytes;
  }

  /**
   * Bytes from the beginning of a leaf on that lie in a hole, up to the end of a leaf or of the file; 0 for data.
   * @param countMax leaves at most
   */
  bytesAt(leafIndex: number, countMax: number): number {
    const offset = leafIndex * LEAF_BYTES;
    if (offset < this.#from || offset >= this.#data.end) this.#find(offset);
    if (this.#data.from <= offset) return 0;
    const end = this.#data.from >= this.#sizeBytes ? this.#sizeBytes : this.#data.from - (this.#data.from % LEAF_BYTES);
    return Math.max(0, Math.min(end - offset, countMax * LEAF_BYTES));
  }

  #find(offset: number): void {
    const from = nextData(this.#fd, offset);
    const isLast = from < 0 || from >= this.#sizeBytes;
    this.#from = offset;
    this.#data = isLast
      ? {from: this.#sizeBytes, end: Infinity}
      : {from, end: Math.max(from + 1, nextHole(this.#fd, from))};
  }
}

/** The holes of an open file; undefined where it has none, so that nothing is looked for. */
export function holesOf(fd: number, stat: Stat): LeafHoles | undefined {
  return hasHole(fd, stat) ? new LeafHoles(fd, stat.sizeBytes) : undefined;
}

/** What a file has allocated, as its peer is told: less than its size where it has holes, else its size. */
export function toldAllocation({sizeBytes, allocatedBytes}: Stat, hasHoles: boolean): number {
  return hasHoles ? Math.min(allocatedBytes, sizeBytes - 1) : sizeBytes;
}
