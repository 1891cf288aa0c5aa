/**
 * No jail, in place of src/linux/jail.ts: jobs run with the host's root as theirs.
 *
 * Under `test/` only, see beneath.ts.
 */
import type * as walls from '../../src/linux/jail.ts';
import {umask} from '../../src/linux/libc.ts';

export class Jail implements Pick<walls.Jail, keyof walls.Jail> {
  readonly isActive = false;

  constructor(_restingFd: number) {
    umask(0);
  }

  enter(): void {}

  leave(): void {}

  run<T>(_rootFd: number, job: () => T): T {
    return job();
  }

  outside<T>(job: () => T): T {
    return job();
  }
}

export const ownMounts: typeof walls.ownMounts = () => false;

export const jailProcess: typeof walls.jailProcess = () => false;
