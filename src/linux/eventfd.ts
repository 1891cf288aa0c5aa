/**
 * Waking a thread that sleeps in the kernel: a counter with a descriptor (eventfd(2)), and poll(2) to wait for it.
 *
 * A worker blocked in a call cannot be ended from outside, so it waits for its own descriptors and for one of these.
 * Invariant: a wake-up is never lost: the counter stays up until its one waiter lowers it, who looks for work after that.
 */
import koffi from 'koffi';
import {checked, errno, fail, scratch, type Scratch} from './libc.ts';
import {EAGAIN, EINTR} from './linux-error.ts';

const lib = koffi.load(null);
type Call = (...args: number[]) => number;
const eventfd = lib.func('eventfd', 'int', ['uint', 'int']) as unknown as Call;
const read = lib.func('read', 'long', ['int', 'uintptr_t', 'size_t']) as unknown as Call;
const write = lib.func('write', 'long', ['int', 'uintptr_t', 'size_t']) as unknown as Call;
const poll = lib.func('poll', 'int', ['uintptr_t', 'ulong', 'int']) as unknown as Call;

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const POLLIN = 1;
const POLLFD_BYTES = 8;
const TABLE_COUNT_MIN = 16;

const one = scratch(8);
one.bytes.writeBigUInt64LE(1n);
const lowered = scratch(8);
let table: Scratch | undefined;

/** @returns a descriptor that is not readable until `wake`; the caller closes it with `closeFd` */
export function openWaker(): number {
  return checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');
}

/** Makes it readable until `calm`: whoever waits for it returns at once. Works from any thread. */
export function wake(wakerFd: number): void {
  checked(write(wakerFd, one.address, 8), 'write');
}

/** Lowers it, however often it was woken; called by the one who waits, before it looks for what it was woken for. */
export function calm(wakerFd: number): void {
  if (read(wakerFd, lowered.address, 8) < 0 && errno() !== EAGAIN && errno() !== EINTR) fail('read');
}

/**
 * Blocks this thread until a descriptor can be read, fails, or the time is over.
 * @param fds one or more
 * @param timeoutMs whole milliseconds; -1 for ever
 * @returns those that are ready; none also when a signal came
 */
export function waitReadable(fds: readonly number[], timeoutMs: number): number[] {
  const {bytes, address} = tableFor(fds.length);
  for (const [index, fd] of fds.entries()) {
    bytes.writeInt32LE(fd, index * POLLFD_BYTES);
    bytes.writeInt32LE(POLLIN, index * POLLFD_BYTES + 4); // and clears `revents` beside it
  }
  const ready = poll(address, fds.length, timeoutMs);
  if (ready < 0 && errno() !== EINTR) fail('poll');
  return ready <= 0 ? [] : fds.filter((_, index) => bytes.readInt16LE(index * POLLFD_BYTES + 6) !== 0);
}

/** Grows by doubling: memory that libc has seen is kept for good. */
function tableFor(count: number): Scratch {
  const countHeld = (table?.bytes.length ?? 0) / POLLFD_BYTES;
  if (table === undefined || count > countHeld) {
    let countNext = TABLE_COUNT_MIN;
    while (countNext < count) countNext *= 2;
    table = scratch(countNext * POLLFD_BYTES);
  }
  return table;
}
