/**
 * One process for one volume's copy and one state folder. The kernel drops a lock with its holder, so none is stale.
 */
import {closeSync, constants, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import {tryLock} from '../linux/lock.ts';
import {sha256} from '../model/digest.ts';
import type {RootIdentity} from '../model/root.ts';

export interface HeldLock {
  release(): void;
}

/** Where locks are kept: gone after a boot, writable for this user. */
function lockFolder(): string {
  const uid = process.geteuid?.() ?? 0;
  const folder = uid === 0 ? '/run/towline' : join(process.env['XDG_RUNTIME_DIR'] ?? tmpdir(), `towline-${uid}`);
  mkdirSync(folder, {recursive: true, mode: 0o700});
  return folder;
}

/** The name of the lock on what is written to a volume: by its place on the filesystem, whatever its path. */
export function volumeLockPath(identity: RootIdentity): string {
  const {filesystem, ino, btimeS, btimeNs} = identity;
  return join(
    lockFolder(),
    `${sha256(Buffer.from([filesystem, ino, btimeS, btimeNs].join('/')))
      .toString('hex')
      .slice(0, 32)}.lock`,
  );
}

/**
 * @param what what is locked, for the message
 * @throws TowlineError LOCKED naming the holder
 */
export function holdLock(path: string, what: string): HeldLock {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  if (!tryLock(fd)) {
    closeSync(fd);
    const holder = readHolder(path);
    throw new TowlineError('LOCKED', `${what} is in use by another Towline process (${holder}); stop it first`, {
      path: what,
      holder,
    });
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `pid ${process.pid}\n`, 0);
  let isHeld = true;
  return {
    release: () => {
      if (isHeld) closeSync(fd);
      isHeld = false;
    },
  };
}

function readHolder(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim().slice(0, 40) || 'pid unknown';
  } catch {
    return 'pid unknown';
  }
}
