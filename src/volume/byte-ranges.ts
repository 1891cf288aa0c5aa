/**
 * Ranges of bytes of a file in order, none touching the next. Pure.
 *
 * Invariant: no more of them are kept than `RANGES_MAX`; who adds more is told, and must take all of the file instead.
 */

/** 2 MiB of numbers. */
export const RANGES_MAX = 131_072;

export class ByteRanges {
  /** From and end of each, one after the other. */
  readonly #bounds: number[] = [];
  #totalBytes = 0;

  get count(): number {
    return this.#bounds.length / 2;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Takes a range that begins at or behind the beginning of the last one. @returns false when there are too many */
  add(from: number, end: number): boolean {
    if (end <= from) return true;
    const last = this.#bounds.at(-1) ?? -1;
    if (from <= last) {
      this.#totalBytes += Math.max(0, end - last);
      this.#bounds[this.#bounds.length - 1] = Math.max(last, end);
      return true;
    }
    if (this.count >= RANGES_MAX) return false;
    this.#bounds.push(from, end);
    this.#totalBytes += end - from;
    return true;
  }

  /** What is in one of both. @returns undefined when these are too many */
  and(other: ByteRanges): ByteRanges | undefined {
    const both = new ByteRanges();
    const [a, b] = [this.#bounds, other.#bounds];
    for (let i = 0, j = 0; i < a.length || j < b.length;) {
      const isA = j >= b.length || (i < a.length && a[i]! <= b[j]!);
      const [from, end] = isA ? [a[i]!, a[i + 1]!] : [b[j]!, b[j + 1]!];
      if (isA) i += 2;
      else j += 2;
      if (!both.add(from, end)) return undefined;
    }
    return both;
  }

  /** The parts of them within a range, in order. */
  *within(from: number, end: number): Generator<{from: number; end: number}> {
    if (end <= from) return;
    for (let at = this.#firstBehind(from); at < this.#bounds.length && this.#bounds[at]! < end; at += 2)
      yield {from: Math.max(from, this.#bounds[at]!), end: Math.min(end, this.#bounds[at + 1]!)};
  }

  /** Where the next of them begins that ends behind an offset; Infinity when there is none. */
  next(offset: number): number {
    return this.#bounds[this.#firstBehind(offset)] ?? Infinity;
  }

  /** Index of the first that ends behind an offset. */
  #firstBehind(offset: number): number {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#bounds[2 * middle + 1]! > offset) high = middle;
      else low = middle + 1;
    }
    return 2 * low;
  }
}
