/**
 * Extended attributes of what is open (not O_PATH). Names are byte strings with their class: `user.x`, `trusted.y`.
 *
 * Invariant: a filesystem without attributes answers like an entry without them; only setting one fails there.
 */
import {invariant} from '../base/errors.ts';
import {addressOf, checked, errno, fail, fgetxattr, fremovexattr, fsetxattr, putText, scratch} from './libc.ts';
import {ENODATA, ENOTSUP, ERANGE, LinuxError} from './linux-error.ts';

export const XATTR_BYTES_MAX = 65_536; // XATTR_SIZE_MAX and XATTR_LIST_MAX of the kernel

const out = scratch(XATTR_BYTES_MAX);

/**
 * @param sizeBytesMax 0 to XATTR_BYTES_MAX
 * @returns a copy of the value; undefined when there is none
 * @throws LinuxError ERANGE when it is larger than `sizeBytesMax`
 */
export function getXattr(fd: number, name: string, sizeBytesMax: number): Buffer | undefined {
  invariant(sizeBytesMax >= 0 && sizeBytesMax <= XATTR_BYTES_MAX, `${sizeBytesMax} bytes asked of an attribute`);
  const sizeBytes = fgetxattr(fd, putText(name), out.address, sizeBytesMax);
  if (sizeBytes > sizeBytesMax) throw new LinuxError('fgetxattr', ERANGE); // a limit of 0 asks for the size
  if (sizeBytes >= 0) return Buffer.from(out.bytes.subarray(0, sizeBytes));
  return errno() === ENODATA || errno() === ENOTSUP ? undefined : fail('fgetxattr');
}

export function setXattr(fd: number, name: string, value: Uint8Array): void {
  checked(fsetxattr(fd, putText(name), addressOf(value), value.length, 0), 'fsetxattr');
}

/** Removes an attribute if it is there. */
export function removeXattr(fd: number, name: string): void {
  if (fremovexattr(fd, putText(name)) < 0 && errno() !== ENODATA) fail('fremovexattr');
}
