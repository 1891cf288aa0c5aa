/**
 * The error of a failed system call: a code for programs, one line for people.
 *
 * Not the error that ends a run (base/errors.ts): whoever calls decides whether a path or the run is in trouble.
 * Invariant: making one costs no stack trace, because ENOENT is an everyday answer.
 */
import {constants} from 'node:os';
import {getSystemErrorMessage} from 'node:util';

/** Numbers to names, `ENOTSUP` and `EAGAIN` for those with two, as in Node; then what Linux has and Node does not name. */
const CODE = new Map<number, string>([
  [117, 'EUCLEAN'],
  [121, 'EREMOTEIO'],
  [123, 'ENOMEDIUM'],
  [126, 'ENOKEY'],
]);
for (const [name, number] of Object.entries(constants.errno)) if (!CODE.has(number)) CODE.set(number, name);

export const {EAGAIN, EBADF, EEXIST, EINTR, EINVAL, ELOOP, ENODATA, ENOENT, ENOSYS, ENOTDIR, ENOTSUP, ENOTTY, ENXIO} =
  constants.errno;
export const {E2BIG, EACCES, ENAMETOOLONG, ENOSPC, EPERM, ERANGE, ETXTBSY, EXDEV} = constants.errno;

/** A system call failed. */
export class LinuxError extends Error {
  override readonly name = 'LinuxError';
  /** `ENOENT` and so on; `E117` where the number has no name here. */
  readonly code: string;
  /** Positive. */
  readonly errno: number;
  /** Name of the libc function. */
  readonly syscall: string;
  constructor(syscall: string, errno: number) {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    const code = errnoName(errno);
    super(`${syscall}: ${code} ${describe(errno)}`);
    Error.stackTraceLimit = limit;
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** `ENOENT` for 2. */
export function errnoName(errno: number): string {
  return CODE.get(errno) ?? `E${errno}`;
}

/** Whether `error` is a failed system call, with one of `codes` if any are given. */
export function isLinuxError(error: unknown, ...codes: string[]): error is LinuxError {
  return error instanceof LinuxError && (codes.length === 0 || codes.includes(error.code));
}

const texts = new Map<number, string>();

function describe(errno: number): string {
  let text = texts.get(errno);
  if (text === undefined) {
    text = getSystemErrorMessage(-errno) as string | undefined;
    texts.set(errno, (text ??= ''));
  }
  return text;
}
