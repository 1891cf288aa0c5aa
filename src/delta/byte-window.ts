/**
 * The undecided part of a stream: pushed pieces, addressed by their offset in the whole stream. Copies nothing unless a
 * range crosses pieces.
 *
 * Invariant: pieces are consecutive; bytes before the released offset are never asked for again.
 */
import {invariant} from '../base/errors.ts';

interface Piece {
  bytes: Buffer;
  from: number;
}

export class ByteWindow {
  /** Offset after the last pushed byte. */
  end = 0;
  #pieces: Piece[] = [];
  // Reads move forward in small steps: the piece of the last read is nearly always the right one.
  #hint = 0;

  /** Bytes of the pieces that are kept. */
  get heldBytes(): number {
    return this.end - (this.#pieces[0]?.from ?? this.end);
  }

  push(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#pieces.push({bytes, from: this.end});
    this.end += bytes.length;
  }

  /** Goes on behind a range that is never asked for; all before it was released. */
  skip(sizeBytes: number): void {
    invariant(this.#pieces.length === 0, 'nothing is kept before what is skipped');
    this.end += sizeBytes;
  }

  /** Bytes from `offset` to the end of the piece that holds it. */
  rest(offset: number): Buffer {
    const piece = this.#pieceAt(offset);
    return piece.bytes.subarray(offset - piece.from);
  }

  /** A range in one buffer, copied only when it crosses pieces. */
  view(offset: number, sizeBytes: number): Buffer {
    const {bytes, from} = this.#pieceAt(offset);
    const at = offset - from;
    if (at + sizeBytes <= bytes.length) return bytes.subarray(at, at + sizeBytes);
    const joined = Buffer.allocUnsafe(sizeBytes);
    let filled = 0;
    for (const slice of this.slices(offset, sizeBytes)) filled += slice.copy(joined, filled);
    return joined;
  }

  /** A range as parts of the pushed pieces. */
  *slices(offset: number, sizeBytes: number): Generator<Buffer> {
    const end = offset + sizeBytes;
    while (offset < end) {
      const slice = this.rest(offset).subarray(0, end - offset);
      yield slice;
      offset += slice.length;
    }
  }

  /** Forgets pieces that end at or before `offset`. */
  release(offset: number): void {
    let count = 0;
    for (const {bytes, from} of this.#pieces) {
      if (from + bytes.length > offset) break;
      count++;
    }
    if (count === 0) return;
    this.#pieces.splice(0, count);
    this.#hint = Math.max(0, this.#hint - count);
  }

  #pieceAt(offset: number): Piece {
    let index = this.#hint;
    let piece = this.#pieces[index];
    while (piece !== undefined && offset < piece.from) piece = this.#pieces[--index];
    while (piece !== undefined && offset >= piece.from + piece.bytes.length) piece = this.#pieces[++index];
    invariant(piece !== undefined, `offset ${offset} is outside the window`);
    this.#hint = index;
    return piece;
  }
}
