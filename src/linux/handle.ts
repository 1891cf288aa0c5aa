/**
 * A descriptor with several holders, closed by the last.
 *
 * Invariant: nobody sees the number after it was closed, so a reused number never means the wrong file.
 */
import {invariant} from '../base/errors.ts';
import {closeFd} from './open-fd.ts';

export class Handle implements Disposable {
  readonly #fd: number;
  #holders = 1;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Takes over a descriptor; the caller is its first holder. */
  static of(fd: number): Handle {
    invariant(Number.isInteger(fd) && fd >= 0, `a handle of descriptor ${fd}`);
    return new Handle(fd);
  }

  /** @throws TowlineError BUG after the last release */
  get fd(): number {
    invariant(this.#holders > 0, 'a closed handle was used');
    return this.#fd;
  }

  get isOpen(): boolean {
    return this.#holders > 0;
  }

  /** One more holder, who releases too. */
  retain(): this {
    invariant(this.#holders > 0, 'a closed handle was retained');
    this.#holders++;
    return this;
  }

  release(): void {
    invariant(this.#holders > 0, 'a handle was released too often');
    if (--this.#holders === 0) closeFd(this.#fd);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
