/**
 * Waking a thread that sleeps in the kernel: a counter with a descriptor (eventfd(2)), and poll(2) to wait for it.
 *
 * A worker blocked in a call cannot be ended from outside, so it waits for its own descriptor and for one of these.
 * Invariant: a wake-up is never lost: the counter stays up until somebody reads it, and nobody does.
 */
import koffi from 'koffi';
import {checked, errno, fail, scratch} from './libc.ts';
import {EINTR} from './linux-error.ts';

const lib = koffi.load(null);
type Call = (...args: number[]) => number;
const eventfd = lib.func('eventfd', 'int', ['uint', 'int']) as unknown as Call;
const write = lib.func('write', 'long', ['int', 'uintptr_t', 'size_t']) as unknown as Call;
const poll = lib.func('poll', 'int', ['uintptr_t', 'ulong', 'int']) as unknown as Call;

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const POLLIN = 1;
const POLLFD_BYTES = 8;
const WAITED_FOR_MAX = 4;

const one = scratch(8);
one.bytes.writeBigUInt64LE(1n);
const table = scratch(POLLFD_BYTES * WAITED_FOR_MAX);

/** @returns a descriptor that is not readable until `wake`; the caller closes it with `closeFd` */
export function openWaker(): number {
  return checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');
}

/** Makes it readable for good: whoever waits for it returns at once, now and later. Works from any thread. */
export function wake(wakerFd: number): void {
  checked(write(wakerFd, one.address, 8), 'write');
}

/**
 * Blocks this thread until a descriptor can be read, fails, or the time is over.
 * @param fds one to four
 * @param timeoutMs whole milliseconds; -1 for ever
 * @returns whether any of them is ready; false also when a signal came
 */
export function waitReadable(fds: readonly number[], timeoutMs: number): boolean {
  const count = Math.min(fds.length, WAITED_FOR_MAX);
  for (let index = 0; index < count; index++) {
    table.bytes.writeInt32LE(fds[index]!, index * POLLFD_BYTES);
    table.bytes.writeInt32LE(POLLIN, index * POLLFD_BYTES + 4); // and clears `revents` beside it
  }
  const ready = poll(table.address, count, timeoutMs);
  if (ready < 0) return errno() === EINTR ? false : fail('poll');
  return ready > 0;
}
