/**
 * The second wall: for the length of a job, a volume is the whole world of one worker thread.
 *
 * The first wall (beneath.ts, the *at calls) must hold without it. Held descriptors stay usable inside; paths of the host,
 * `/proc` and imports are not, so everything is loaded before. Root and working directory are the thread's own from the
 * constructor on (unshare(2), CLONE_FS), so only synchronous calls made on this thread are jailed.
 *
 * Invariant: between jobs the thread rests in an empty folder, so that nothing keeps a volume busy.
 */
import {isMainThread} from 'node:worker_threads';
import {invariant} from '../base/errors.ts';
import {useWorkingDirectory} from './attrs.ts';
import {ownFdsDir} from './open-fd.ts';
import {checked, chroot, errno, fail, fchdir, mount, putText, umask, unshare} from './libc.ts';
import {EPERM} from './linux-error.ts';
import {openDirPath} from './open-fd.ts';

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
const MS_REC = 0x4000;
const MS_PRIVATE = 0x40000;

export class Jail {
  /** False without the right to chroot: jobs then run behind the first wall alone. */
  readonly isActive: boolean;
  readonly #restingFd: number;
  readonly #hostRootFd: number;
  #isInside = false;

  /**
   * Changes the calling thread for good: umask 0, and where it may, its root is now the resting folder.
   * @param restingFd an empty directory, best one already removed; held by the caller as long as the jail
   * @throws TowlineError BUG on the main thread, which shares its root with libuv's pool
   */
  constructor(restingFd: number) {
    invariant(!isMainThread, 'the main thread was to be jailed');
    invariant(ownFdsDir() >= 0, 'no way to reopen descriptors inside a jail');
    this.#restingFd = restingFd;
    this.#hostRootFd = openDirPath('/');
    checked(unshare(CLONE_FS), 'unshare');
    umask(0);
    this.isActive = this.#mayRest();
    if (this.isActive) useWorkingDirectory();
  }

  /** @param rootFd of the volume's root; may be O_PATH */
  enter(rootFd: number): void {
    invariant(!this.#isInside, 'a jail was entered twice');
    if (this.isActive) {
      try {
        moveTo(rootFd);
      } catch (error) {
        moveTo(this.#restingFd); // between the two calls the working directory is the volume already
        throw error;
      }
    }
    this.#isInside = true;
  }

  /** Goes to rest. A failure leaves the thread in the volume: the worker must end then. */
  leave(): void {
    invariant(this.#isInside, 'a jail was left twice');
    this.#isInside = false;
    if (this.isActive) moveTo(this.#restingFd);
  }

  /** Runs a synchronous job with the volume as root. */
  run<T>(rootFd: number, job: () => T): T {
    this.enter(rootFd);
    try {
      const result = job();
      invariant(!(result instanceof Promise), 'a jailed job was asynchronous');
      return result;
    } finally {
      this.leave();
    }
  }

  /** Runs a synchronous job that resolves the operator's own paths on the host: the address of a root, say. */
  outside<T>(job: () => T): T {
    invariant(!this.#isInside, 'a host path was resolved inside a jail');
    if (!this.isActive) return job();
    moveTo(this.#hostRootFd);
    try {
      return job();
    } finally {
      moveTo(this.#restingFd);
    }
  }

  #mayRest(): boolean {
    checked(fchdir(this.#restingFd), 'fchdir');
    if (chroot(putText('.')) >= 0) return true;
    return errno() === EPERM ? false : fail('chroot');
  }
}

/** A directory outside of the present root is fine: fchdir(2) goes by descriptor, and `.` is where it went. */
function moveTo(dirFd: number): void {
  checked(fchdir(dirFd), 'fchdir');
  checked(chroot(putText('.')), 'chroot');
}

/**
 * Gives the calling process a list of mounts of its own, in which the host's unmounts are not seen: then even who has a
 * volume as its root does not keep it busy. Only the main thread and what it starts by fork(2) or execve(2) have it.
 * @returns false where the process may not; nothing is changed then
 */
export function ownMounts(): boolean {
  if (unshare(CLONE_NEWNS) < 0) return errno() === EPERM ? false : fail('unshare');
  checked(mount(0, putText('/'), 0, MS_REC | MS_PRIVATE, 0), 'mount');
  return true;
}

/**
 * Makes a directory the root of the calling process for good, of all its threads. For a process that works in a volume by
 * paths, because what it uses takes nothing else.
 * @returns false where the process may not; nothing is changed then
 */
export function jailProcess(rootFd: number): boolean {
  if (chroot(putText('/')) < 0) return errno() === EPERM ? false : fail('chroot');
  moveTo(rootFd);
  return true;
}
