/**
 * Cuts bytes that come in pieces into lines of text. What follows the last line end is no line yet.
 *
 * Invariant: no more than one line of the longest is kept; of a longer one only its end is given, which is no line of
 * whoever set that limit.
 */
const NEWLINE = 0x0a;

export class LineSplitter {
  readonly #bytesMax: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** @param piece may be reused once its lines were taken @returns the lines that it ends, without their ends */
  *lines(piece: Uint8Array): Generator<string, void> {
    const bytes = Buffer.concat([this.#rest, piece]);
    let from = 0;
    for (let end; (end = bytes.indexOf(NEWLINE, from)) >= 0; from = end + 1) yield bytes.toString('utf8', from, end);
    this.#rest = bytes.subarray(bytes.length - from > this.#bytesMax ? bytes.length : from);
  }
}
