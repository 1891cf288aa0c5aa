/**
 * Errors of system calls, put in front of the kernel by strace: which call fails, how, and which time it is made.
 *
 * Only what can happen to a program: an error, never a result that tells of work that was not done. Counts are those of
 * each thread.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, readFileSync} from 'node:fs';
import {killAtEnd} from '../hosts/clean-up.ts';
import type {Random} from '../sync/random-tree.ts';

const CHANGING = ['EIO', 'ENOSPC', 'EACCES'];
const DATA = ['EIO', 'ENOSPC', 'EINTR'];
const RIGHTS = ['EIO', 'EPERM', 'ENOSPC'];
const READING = ['EIO', 'EACCES'];

/** What touches volumes and state, with the errors that it may have. Plain `write` also wakes threads: it never fails. */
const ERRORS: Record<string, readonly string[]> = {
  openat: ['EMFILE', 'EIO', 'EACCES', 'ENOSPC'],
  openat2: ['EMFILE', 'EIO', 'EACCES', 'ENOSPC'],
  renameat: CHANGING,
  renameat2: CHANGING,
  linkat: CHANGING,
  unlinkat: CHANGING,
  mkdirat: CHANGING,
  symlinkat: CHANGING,
  mknodat: CHANGING,
  fsync: ['EIO', 'ENOSPC'],
  fdatasync: ['EIO', 'ENOSPC'],
  syncfs: ['EIO', 'ENOSPC'],
  pwrite64: DATA,
  write: ['EINTR'],
  ftruncate: DATA,
  fallocate: DATA,
  copy_file_range: DATA,
  pread64: ['EIO', 'EINTR'],
  read: ['EINTR'],
  getdents64: ['EIO'],
  newfstatat: READING,
  statx: READING,
  readlinkat: READING,
  fgetxattr: ['EIO'],
  fchmod: RIGHTS,
  fchmodat: RIGHTS,
  fchown: RIGHTS,
  fchownat: RIGHTS,
  utimensat: RIGHTS,
  fsetxattr: RIGHTS,
};
/** What a program makes before it is one: a fault of these at its start would not be ours to tell. */
const OF_THE_START = ['openat', 'pread64', 'read', 'newfstatat', 'statx', 'getdents64', 'write', 'readlinkat'];
const LATE = Object.keys(ERRORS).filter((call) => !OF_THE_START.includes(call));

export interface Injection {
  call: string;
  error: string;
  /** As strace has it: `3`, `3+`, `3+2`. */
  when: string;
}

/** @param when which times of a call may be the first to fail @param isFromStart whether the program is only started then */
export function randomInjection(random: Random, firstMax: number, isFromStart: boolean): Injection {
  const call = random.of(isFromStart ? LATE : Object.keys(ERRORS));
  const error = random.of(ERRORS[call]!);
  const first = 1 + random.below(firstMax);
  const when = random.of([`${first}`, `${first}+`, `${first}+${2 + random.below(5)}`]);
  return {call, error, when};
}

export function tell({call, error, when}: Injection): string {
  return `${call} ${error} when=${when}`;
}

/** To be put before a program. @param output where strace writes the calls that it has made fail */
export function straceWords({call, error, when}: Injection, output: string): string[] {
  return [
    'strace',
    '-f',
    '-q',
    '-o',
    output,
    '-e',
    `trace=?${call}`,
    '-e',
    `inject=?${call}:error=${error}:when=${when}`,
  ];
}

export function injectedCount(output: string): number {
  return existsSync(output) ? readFileSync(output, 'latin1').split('(INJECTED)').length - 1 : 0;
}

/** Lets calls of a running process fail. @returns ends it; the count of calls that failed */
export async function injectInto(pid: number, injection: Injection, output: string): Promise<() => Promise<number>> {
  const [command = '', ...args] = straceWords(injection, output).filter((word) => word !== '-q');
  const child = killAtEnd(spawn(command, [...args, '-p', String(pid)], {stdio: ['ignore', 'ignore', 'pipe']}));
  const said = new Promise<void>((resolve) => {
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
      if (text.includes('attached')) resolve();
    });
    child.once('exit', () => resolve());
  });
  await said;
  return async () => {
    const ended = once(child, 'exit');
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await ended;
    }
    return injectedCount(output);
  };
}
