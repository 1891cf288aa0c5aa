/**
 * Recognises a volume's root: a random mark in an extended attribute, the filesystem, the inode and its birth time.
 *
 * Not st_dev, which changes with every mount. Invariant: a root that is not the known one is never worked on; the
 * message names what was expected and what was found.
 */
import {randomBytes} from 'node:crypto';
import {TowlineError, type HaltKind} from '../base/errors.ts';
import {filesystemOf} from '../linux/filesystem.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import {getXattr, removeXattr, setXattr} from '../linux/xattrs.ts';
import {showPath} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';

const MARK_NAME = 'trusted.towline.volume'; // trusted.*: no process in a container can read or change it
const MARK_BYTES = 16;
const EPOCH_NAME = 'trusted.towline.epoch';
const EPOCH_BYTES = 9;

/**
 * The identity of an open root.
 * @param path its host path as a byte string, for messages
 */
export function identityOf(fd: number, path: string): RootIdentity {
  const stat = statFd(fd);
  const {uuid, fsid} = filesystemOf(fd);
  return {
    path,
    mark: readMark(fd),
    filesystem: uuid ?? fsid,
    ino: stat.ino,
    btimeS: stat.btime.s,
    btimeNs: stat.btime.ns,
  };
}

function readMark(fd: number): string {
  try {
    return getXattr(fd, MARK_NAME, 64)?.toString('hex') ?? '';
  } catch (error) {
    if (isLinuxError(error)) return ''; // a filesystem without attributes, or not root
    throw error;
  }
}

/**
 * Sets a mark where there is none, durably: a state that knows a mark which a power cut took halts the volume.
 * @returns the mark, '' where none can be set (not root, read-only, no attributes)
 */
export function ensureMark(fd: number): string {
  try {
    if (readMark(fd) === '') setXattr(fd, MARK_NAME, randomBytes(MARK_BYTES));
    syncFd(fd); // also of a mark that a run was killed after setting
  } catch (error) {
    if (!isLinuxError(error)) throw error;
  }
  return readMark(fd);
}

/** Takes the marks away; a root without one is left as it is. */
export function removeMark(fd: number): void {
  if (readMark(fd) !== '') removeXattr(fd, MARK_NAME);
  if (readEpochMark(fd) !== undefined) removeXattr(fd, EPOCH_NAME);
}

/** In which epoch this folder is, and on which side: beside the state, which may be lost or come from an old backup. */
export interface EpochMark {
  /** As model/epoch.ts packs it. */
  packed: number;
  isSource: boolean;
}

/** @returns undefined where there is none, or what is there is not one */
export function readEpochMark(fd: number): EpochMark | undefined {
  try {
    const bytes = getXattr(fd, EPOCH_NAME, 64);
    if (bytes?.length !== EPOCH_BYTES) return undefined;
    const packed = Number(bytes.readBigUInt64BE(0));
    return Number.isSafeInteger(packed) ? {packed, isSource: bytes[8] === 1} : undefined;
  } catch (error) {
    if (isLinuxError(error)) return undefined;
    throw error;
  }
}

/** Where none can be set (not root, read-only, no attributes) nothing is. */
export function writeEpochMark(fd: number, {packed, isSource}: EpochMark): void {
  const bytes = Buffer.alloc(EPOCH_BYTES);
  bytes.writeBigUInt64BE(BigInt(packed));
  bytes[8] = isSource ? 1 : 2;
  try {
    setXattr(fd, EPOCH_NAME, bytes);
    syncFd(fd);
  } catch (error) {
    if (!isLinuxError(error)) throw error;
  }
}

/** Why a found root is not the expected one, or undefined when it is. */
export function rootFault(expected: RootIdentity, found: RootIdentity): {kind: HaltKind; message: string} | undefined {
  const isSamePlace =
    expected.filesystem === found.filesystem &&
    expected.ino === found.ino &&
    expected.btimeS === found.btimeS &&
    expected.btimeNs === found.btimeNs;
  if (isSamePlace && expected.mark === found.mark) return undefined;
  const path = showPath(expected.path);
  if (isSamePlace) {
    const seen = found.mark === '' ? 'it is gone' : `found ${found.mark}`;
    return {kind: 'root-mark-missing', message: `${path} has lost its mark ${expected.mark} (${seen})`};
  }
  if (found.mark !== '' && found.mark === expected.mark) {
    return {
      kind: 'root-replaced',
      message: `${path} carries the mark ${found.mark} but is another directory (inode ${found.ino}, was ${expected.ino}): a copy, or moved`,
    };
  }
  const where = expected.filesystem === found.filesystem ? 'another directory' : 'on another filesystem';
  return {
    kind: 'root-replaced',
    message:
      `${path} is ${where} than the volume: expected mark ${expected.mark || 'none'} and inode ${expected.ino}, ` +
      `found mark ${found.mark || 'none'} and inode ${found.ino}; was it unmounted or recreated?`,
  };
}

/**
 * Opens a root by its host path and checks that it is the expected one.
 * @param expected undefined for a volume that is not known yet
 * @returns a descriptor for the caller to close, and what was found
 * @throws TowlineError ROOT_MISSING for an unknown volume, HALTED for a known one
 */
export function openRoot(path: string, expected: RootIdentity | undefined): {fd: number; identity: RootIdentity} {
  let fd: number;
  try {
    fd = openDirPath(path);
  } catch (error) {
    if (!isLinuxError(error)) throw error;
    throw missing(path, error.code, expected !== undefined);
  }
  try {
    const identity = identityOf(fd, path);
    const fault = expected === undefined ? undefined : rootFault(expected, identity);
    if (fault !== undefined) throw halted(fault.kind, path, fault.message);
    return {fd, identity};
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function missing(path: string, code: string, isKnown: boolean): TowlineError {
  const shown = showPath(path);
  const what =
    code === 'ENOENT'
      ? `${shown} does not exist`
      : code === 'ENOTDIR'
        ? `${shown} is not a folder`
        : `${shown} cannot be opened (${code})`;
  if (isKnown)
    return halted('root-missing', path, `${what}, but it is the root of a known volume; was it unmounted or removed?`);
  return new TowlineError('ROOT_MISSING', `${what}; make it, mount it, or name another folder`, {path: shown});
}

function halted(kind: HaltKind, path: string, message: string): TowlineError {
  const details = {kind, volume: showPath(path), count: 0, limit: 0};
  const sentence = message.endsWith('?') ? message : `${message}.`;
  const advice = kind === 'root-missing' ? '' : ' If it is the right one now, let it go on with towline confirm.';
  return new TowlineError('HALTED', `${sentence} Nothing was changed on the target.${advice}`, details);
}
