/**
 * What filesystem something open lies on: identity, size, free space.
 *
 * Invariant: `uuid` is the filesystem's own and survives a remount; `fsid` need not, so it is no identity by itself.
 */
import {checked, fstatfs, ioctl, scratch} from './libc.ts';

export interface Filesystem {
  /** Magic number of statfs(2), such as 0xef53 for ext2 to ext4. */
  type: number;
  /** 16 hex digits; of a number that on some filesystems depends on the device. */
  fsid: string;
  /** 32 hex digits; undefined where the filesystem does not tell. */
  uuid: string | undefined;
  blockBytes: number;
  /** Free for this process: without what is reserved for root. */
  freeBytes: number;
  totalBytes: number;
  /** Infinity where the filesystem makes them as needed (btrfs). */
  freeInodes: number;
  isReadOnly: boolean;
}

export const EXT4_TYPE = 0xef53;
export const XFS_TYPE = 0x58465342;
export const BTRFS_TYPE = 0x9123683e;
export const TMPFS_TYPE = 0x01021994;

const ST_RDONLY = 1;
const FS_IOC_GETFSUUID = 0x80111500; // Linux 6.9: length byte, then up to 16 bytes
const EXT4_IOC_GETFSUUID = 0x8008662c; // Linux 6.0: u32 length (asked), u32 flags, 16 bytes
const BTRFS_IOC_FS_INFO = 0x8400941f; // u64 devices, u64 highest device, 16 bytes
const XFS_IOC_FSGEOMETRY_V4 = 0x80705864; // 112 bytes, the UUID at 64
const out = scratch(1024);

/** @param fd of any file or directory on it, not O_PATH where the UUID matters */
export function filesystemOf(fd: number): Filesystem {
  checked(fstatfs(fd, out.address), 'fstatfs');
  const {bytes} = out;
  const word = (index: number): number => bytes.readUInt32LE(index * 8) + bytes.readUInt32LE(index * 8 + 4) * 2 ** 32;
  const blockBytes = word(9) === 0 ? word(1) : word(9);
  const found = {
    type: bytes.readUInt32LE(0),
    fsid: bytes.subarray(56, 64).toString('hex'),
    blockBytes,
    freeBytes: word(4) * blockBytes,
    totalBytes: word(2) * blockBytes,
    freeInodes: word(5) === 0 ? Infinity : word(6),
    isReadOnly: (bytes.readUInt32LE(80) & ST_RDONLY) !== 0,
  };
  return {...found, uuid: uuidOf(fd, found.type)};
}

/** The general call first; it tells zeros for an ext4 whose UUID was set while mounted, where ext4's own call knows. */
function uuidOf(fd: number, type: number): string | undefined {
  out.bytes.fill(0, 0, 24);
  const general = ask(fd, FS_IOC_GETFSUUID) ? hexAt(1, out.bytes[0]!) : undefined;
  if (general !== undefined) return general;
  if (type === EXT4_TYPE) {
    out.bytes.writeUInt32LE(16, 0);
    return ask(fd, EXT4_IOC_GETFSUUID) ? hexAt(8, 16) : undefined;
  }
  if (type === BTRFS_TYPE) return ask(fd, BTRFS_IOC_FS_INFO) ? hexAt(16, 16) : undefined;
  if (type === XFS_TYPE) return ask(fd, XFS_IOC_FSGEOMETRY_V4) ? hexAt(64, 16) : undefined;
  return undefined;
}

function ask(fd: number, request: number): boolean {
  return ioctl(fd, request, out.address) >= 0;
}

/** Undefined for a length of 0 and for nothing but zeros. */
function hexAt(at: number, length: number): string | undefined {
  const hex = out.bytes.subarray(at, at + length).toString('hex');
  return /[^0]/.test(hex) ? hex : undefined;
}
