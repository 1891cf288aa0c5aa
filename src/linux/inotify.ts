/**
 * inotify(7): what the kernel tells about changes in directories.
 *
 * Not a watcher of trees (src/watch): one watch is one directory, without what lies below it.
 * Invariant: a watch is placed on what a descriptor holds, never on what a path happens to lead to.
 */
import koffi from 'koffi';
import type {Name} from '../model/path.ts';
import {addressOf, checked, errno, fail, ioctl, putText, scratch} from './libc.ts';
import {EAGAIN, EINTR, EINVAL} from './linux-error.ts';

const lib = koffi.load(null);
type Call = (...args: number[]) => number;
const inotifyInit1 = lib.func('inotify_init1', 'int', ['int']) as unknown as Call;
const inotifyAddWatch = lib.func('inotify_add_watch', 'int', ['int', 'uintptr_t', 'uint32_t']) as unknown as Call;
const inotifyRmWatch = lib.func('inotify_rm_watch', 'int', ['int', 'int']) as unknown as Call;
const read = lib.func('read', 'long', ['int', 'uintptr_t', 'size_t']) as unknown as Call;

const IN_CLOEXEC = 0o2000000;
const IN_NONBLOCK = 0o4000;

export const IN_MODIFY = 0x2;
export const IN_ATTRIB = 0x4;
export const IN_CLOSE_WRITE = 0x8;
export const IN_MOVED_FROM = 0x40;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE = 0x200;
export const IN_DELETE_SELF = 0x400;
export const IN_MOVE_SELF = 0x800;
export const IN_UNMOUNT = 0x2000;
export const IN_Q_OVERFLOW = 0x4000;
export const IN_IGNORED = 0x8000;
export const IN_ONLYDIR = 0x1000000;
/** No events for files that have no name any more. */
export const IN_EXCL_UNLINK = 0x4000000;
export const IN_ISDIR = 0x40000000;

const FIONREAD = 0x541b;
const HEADER_BYTES = 16;
const queued = scratch(4);

/**
 * A new instance; its queue has the length that /proc/sys/fs/inotify/max_queued_events has now.
 * @throws LinuxError EMFILE: the user's instances (max_user_instances) or the process's descriptors are used up
 */
export function openInotify(): number {
  return checked(inotifyInit1(IN_CLOEXEC | IN_NONBLOCK), 'inotify_init1');
}

/**
 * Watches the directory that is open as `dirFd`, which may be closed afterwards. The call takes paths only; the one
 * through /proc leads to what is held, wherever it was moved meanwhile.
 * @returns the watch; the same as before when this directory is watched already, which makes it an identity
 * @throws LinuxError ENOSPC (max_user_watches), EACCES (the directory may not be read)
 */
export function watchDir(inotifyFd: number, dirFd: number, mask: number): number {
  return checked(inotifyAddWatch(inotifyFd, putText(`/proc/self/fd/${dirFd}`), mask), 'inotify_add_watch');
}

/** Ends a watch; one that the kernel has ended already is fine. */
export function unwatch(inotifyFd: number, watch: number): void {
  if (inotifyRmWatch(inotifyFd, watch) < 0 && errno() !== EINVAL) fail('inotify_rm_watch');
}

/**
 * Takes events from the queue as the kernel writes them; `InotifyEvents` reads them.
 * @returns bytes written; 0 when the queue is empty
 */
export function readInotify(inotifyFd: number, into: Buffer): number {
  const sizeBytes = read(inotifyFd, addressOf(into), into.length);
  if (sizeBytes >= 0) return sizeBytes;
  const number = errno();
  return number === EAGAIN || number === EINTR ? 0 : fail('read');
}

/** Bytes of events that wait in the queue now. */
export function queuedBytes(inotifyFd: number): number {
  checked(ioctl(inotifyFd, FIONREAD, queued.address), 'ioctl(FIONREAD)');
  return queued.bytes.readInt32LE(0);
}

/** Steps through what `readInotify` wrote: `events.reset(sizeBytes); while (events.next()) … events.mask …`. */
export class InotifyEvents {
  readonly bytes: Buffer;
  #at = 0;
  #end = 0;
  #nameAt = 0;
  #nameEnd = 0;
  /** -1 for IN_Q_OVERFLOW. */
  watch = -1;
  mask = 0;
  /** The same for the two halves of a rename, 0 for anything else. */
  cookie = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  reset(sizeBytes: number): void {
    this.#at = 0;
    this.#end = sizeBytes;
  }

  /** Moves to the next event; false at the end. */
  next(): boolean {
    const {bytes} = this;
    const at = this.#at;
    if (at + HEADER_BYTES > this.#end) return false;
    this.watch = bytes.readInt32LE(at);
    this.mask = bytes.readUInt32LE(at + 4);
    this.cookie = bytes.readUInt32LE(at + 8);
    this.#nameAt = at + HEADER_BYTES;
    this.#nameEnd = Math.min(this.#nameAt + bytes.readUInt32LE(at + 12), this.#end);
    this.#at = this.#nameEnd;
    return true;
  }

  /** Name in the watched directory as a byte string; '' when the event is about the directory itself. */
  name(): Name {
    let end = this.#nameAt;
    while (end < this.#nameEnd && this.bytes[end] !== 0) end++;
    return this.bytes.toString('latin1', this.#nameAt, end);
  }
}
