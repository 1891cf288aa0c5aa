/**
 * Cuts decided ranges of the new file into leaves and joins neighbours: copies that continue each other, literals that
 * touch.
 *
 * Invariant: every leaf has exactly `leafBytes` of output but the last; no op crosses a leaf.
 */
import type {LeafOp, LeafOps} from './leaf-op.ts';

export class LeafWriter {
  readonly #leafBytes: number;
  #ready: LeafOps[] = [];
  #ops: LeafOp[] = [];
  #filled = 0;
  // Literals are joined when the run ends, so that many small ones cost one copy.
  #literals: Buffer[] = [];

  constructor(leafBytes: number) {
    this.#leafBytes = leafBytes;
  }

  copy(baseOffset: number, sizeBytes: number): void {
    this.#endLiterals();
    while (sizeBytes > 0) {
      const part = Math.min(sizeBytes, this.#leafBytes - this.#filled);
      const last = this.#ops.at(-1);
      if (last?.kind === 'copy' && last.baseOffset + last.sizeBytes === baseOffset) last.sizeBytes += part;
      else this.#ops.push({kind: 'copy', baseOffset, sizeBytes: part});
      baseOffset += part;
      sizeBytes -= part;
      this.#advance(part);
    }
  }

  literal(bytes: Buffer): void {
    while (bytes.length > 0) {
      const part = bytes.subarray(0, this.#leafBytes - this.#filled);
      this.#addLiteral(part);
      bytes = bytes.subarray(part.length);
      this.#advance(part.length);
    }
  }

  /** Closes the last, short leaf. */
  finish(): void {
    if (this.#filled > 0) this.#endLeaf();
  }

  /** The leaves closed since the last call. */
  take(): LeafOps[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  #advance(sizeBytes: number): void {
    this.#filled += sizeBytes;
    if (this.#filled === this.#leafBytes) this.#endLeaf();
  }

  #endLeaf(): void {
    this.#endLiterals();
    this.#ready.push({ops: this.#ops});
    this.#ops = [];
    this.#filled = 0;
  }

  #addLiteral(bytes: Buffer): void {
    const last = this.#literals.at(-1);
    const touches = last?.buffer === bytes.buffer && last.byteOffset + last.length === bytes.byteOffset;
    if (last === undefined || !touches) this.#literals.push(bytes);
    else
      this.#literals[this.#literals.length - 1] = Buffer.from(
        bytes.buffer,
        last.byteOffset,
        last.length + bytes.length,
      );
  }

  #endLiterals(): void {
    const [first] = this.#literals;
    if (first === undefined) return;
    this.#ops.push({kind: 'literal', bytes: this.#literals.length === 1 ? first : Buffer.concat(this.#literals)});
    this.#literals = [];
  }
}
