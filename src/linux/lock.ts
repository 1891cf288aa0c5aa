/**
 * An advisory lock on an open file. It ends with the last descriptor, also when the process is killed.
 */
import {errno, fail, flock} from './libc.ts';
import {EAGAIN} from './linux-error.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/** Takes the exclusive lock; false when another open file description holds it. */
export function tryLock(fd: number): boolean {
  if (flock(fd, LOCK_EX | LOCK_NB) >= 0) return true;
  return errno() === EAGAIN ? false : fail('flock');
}
