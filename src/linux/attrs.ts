/**
 * All extended attributes of an entry at once, of any type: read by its name, set on what is held.
 *
 * The kernel takes a path here, and no directory to start from. A jailed thread has a working directory of its own: it
 * goes to the held directory, and the path is the one name. Elsewhere the path leads through /proc/self/fd.
 * Invariant: no symlink is followed, and nothing is opened.
 */
import {
  ATTRS_BYTES_MAX,
  classOf,
  decodeAttrs,
  encodeAttrs,
  encodedBytesOf,
  NO_ATTRS,
  type Attr,
  type Attrs,
} from '../model/attrs.ts';
import type {Name} from '../model/path.ts';
import {
  addressOf,
  checked,
  errno,
  fail,
  fchdir,
  fgetxattr,
  flistxattr,
  fremovexattr,
  fsetxattr,
  getxattr,
  listxattr,
  llistxattr,
  putName,
  putSecondText,
  putText,
  removexattr,
  scratch,
  setxattr,
} from './libc.ts';
import {E2BIG, EACCES, ENODATA, ENOSPC, ENOTSUP, ERANGE, EXDEV, LinuxError} from './linux-error.ts';
import {closeFd, holdAt, ownFdsDir} from './open-fd.ts';
import {XATTR_BYTES_MAX} from './xattrs.ts';

/** What could not be set or removed, and why. */
export interface AttrFailure {
  name: string;
  error: LinuxError;
}

let hasOwnDirectory = false;

/** From now on this thread's working directory is its own (jail.ts), and every job leaves it behind. */
export function useWorkingDirectory(): void {
  hasOwnDirectory = true;
}

const out = scratch(XATTR_BYTES_MAX);

/**
 * By its name, which costs nearly nothing where there are none; what has some is held first.
 * @returns undefined when there are more than `ATTRS_BYTES_MAX` bytes of them; none of a mount point
 */
export function readAttrsAt(dirFd: number, name: Name): Attrs | undefined {
  const listBytes = llistxattr(putEntry(goTo(dirFd, name)), out.address, XATTR_BYTES_MAX);
  if (listBytes === 0 || (listBytes < 0 && errno() === ENOTSUP)) return NO_ATTRS;
  if (listBytes < 0 && errno() !== E2BIG && errno() !== ERANGE) return fail('listxattr');
  let held = -1;
  try {
    held = holdAt(dirFd, name);
    return readAttrsHeld(held);
  } catch (error) {
    if (error instanceof LinuxError && error.errno === EXDEV) return NO_ATTRS;
    throw error;
  } finally {
    if (held >= 0) closeFd(held);
  }
}

/** Of what is open. @returns undefined when there are more than `bytesMax` bytes of them */
export function readAttrsFd(fd: number, bytesMax = ATTRS_BYTES_MAX): Attrs | undefined {
  const get: GetXattr = (attr) => fgetxattr(fd, putText(attr), out.address, XATTR_BYTES_MAX);
  return readAll(flistxattr(fd, out.address, XATTR_BYTES_MAX), get, bytesMax);
}

/**
 * Makes the attributes of some classes those that are wanted; others stay.
 * @param fd open, not O_PATH
 * @param wanted of these classes only
 * @returns what could not be done
 */
export function setAttrsFd(fd: number, wanted: Attrs, classes: readonly string[]): AttrFailure[] {
  return setAll(wanted, classes, {
    list: () => flistxattr(fd, out.address, XATTR_BYTES_MAX),
    get: (attr) => fgetxattr(fd, putText(attr), out.address, XATTR_BYTES_MAX),
    set: (attr, value) => fsetxattr(fd, putText(attr), addressOf(value), value.length, 0),
    remove: (attr) => fremovexattr(fd, putText(attr)),
  });
}

/** The same for what is held as O_PATH: a symlink, FIFO, socket or device, which nothing opens. */
export function setAttrsHeld(held: number, wanted: Attrs, classes: readonly string[]): AttrFailure[] {
  const entry = goTo(ownFdsDir(), String(held), '/proc/self/fd');
  return setAll(wanted, classes, {
    list: () => listxattr(putEntry(entry), out.address, XATTR_BYTES_MAX),
    get: (attr) => getxattr(putEntry(entry), putSecondText(attr), out.address, XATTR_BYTES_MAX),
    set: (attr, value) => setxattr(putEntry(entry), putSecondText(attr), addressOf(value), value.length, 0),
    remove: (attr) => removexattr(putEntry(entry), putSecondText(attr)),
  });
}

/** Reads what is held as O_PATH. */
export function readAttrsHeld(held: number, bytesMax = ATTRS_BYTES_MAX): Attrs | undefined {
  const entry = goTo(ownFdsDir(), String(held), '/proc/self/fd');
  const get: GetXattr = (attr) => getxattr(putEntry(entry), putSecondText(attr), out.address, XATTR_BYTES_MAX);
  return readAll(listxattr(putEntry(entry), out.address, XATTR_BYTES_MAX), get, bytesMax);
}

type GetXattr = (attr: string) => number;

interface Entry {
  isName: boolean;
  text: string;
}

function goTo(dirFd: number, name: Name, dirPath = `/proc/self/fd/${dirFd}`): Entry {
  if (!hasOwnDirectory) return {isName: false, text: `${dirPath}/${name}`};
  checked(fchdir(dirFd), 'fchdir');
  return {isName: true, text: name};
}

function putEntry({isName, text}: Entry): number {
  return isName ? putName(text) : putText(text);
}

function namesOf(listBytes: number): string[] {
  if (listBytes < 0) return errno() === ENOTSUP ? [] : fail('listxattr');
  return listBytes === 0 ? [] : out.bytes.toString('latin1', 0, listBytes - 1).split('\0');
}

function readAll(listBytes: number, get: GetXattr, bytesMax: number): Attrs | undefined {
  if (listBytes === 0) return NO_ATTRS; // of nearly all
  if (listBytes < 0 && (errno() === E2BIG || errno() === ERANGE)) return undefined;
  const attrs: Attr[] = [];
  let sizeBytes = 0;
  for (const name of namesOf(listBytes)) {
    if (classOf(name) === undefined) continue;
    const value = valueOf(get(name));
    if (value === undefined) continue;
    sizeBytes += encodedBytesOf({name, value});
    if (sizeBytes > bytesMax) return undefined;
    attrs.push({name, value});
  }
  return encodeAttrs(attrs);
}

function valueOf(sizeBytes: number): Buffer | undefined {
  if (sizeBytes >= 0) return Buffer.from(out.bytes.subarray(0, sizeBytes));
  // Gone between two calls; or of a file that we may not read, which is a problem by itself.
  return errno() === ENODATA || errno() === ENOTSUP || errno() === EACCES ? undefined : fail('getxattr');
}

interface Calls {
  list: () => number;
  get: GetXattr;
  set: (attr: string, value: Buffer) => number;
  remove: (attr: string) => number;
}

/** Classes whose attributes may be taken away for a moment: they grant nothing. */
const PLAIN_CLASSES = ['user', 'trusted'];

function setAll(wanted: Attrs, classes: readonly string[], calls: Calls): AttrFailure[] {
  const there = namesOf(calls.list()).filter((name) => classes.includes(classOf(name) as string));
  if (there.length === 0 && wanted.length === 0) return [];
  const list = decodeAttrs(wanted);
  const stays = (name: string): boolean => list.some((attr) => attr.name === name);
  // Before others are set: there may be no room for both.
  const kept = removeAll(
    there.filter((name) => !stays(name)),
    calls,
  );
  const failures = setEach(list, new Set(there), calls);
  if (!failures.some(({error}) => error.errno === ENOSPC)) return [...kept, ...failures];
  // What lies where decides how much fits (ext4 puts large values elsewhere): once more, the largest first.
  const isPlain = (name: string): boolean => PLAIN_CLASSES.includes(classOf(name) as string);
  const plain = list.filter(({name}) => isPlain(name)).sort((a, b) => b.value.length - a.value.length);
  removeAll(
    plain.map(({name}) => name),
    calls,
  );
  return [...kept, ...failures.filter(({name}) => !isPlain(name)), ...setEach(plain, new Set(), calls)];
}

function removeAll(names: readonly string[], {remove}: Calls): AttrFailure[] {
  return names.flatMap((name) => failureOf(name, remove(name), 'removexattr'));
}

/** @param there names that may have their value already */
function setEach(attrs: readonly Attr[], there: ReadonlySet<string>, {get, set}: Calls): AttrFailure[] {
  return attrs.flatMap(({name, value}) => {
    if (there.has(name) && valueOf(get(name))?.equals(value) === true) return [];
    return failureOf(name, set(name, value), 'setxattr');
  });
}

function failureOf(name: string, result: number, syscall: string): AttrFailure[] {
  return result < 0 && errno() !== ENODATA ? [{name, error: new LinuxError(syscall, errno())}] : [];
}
