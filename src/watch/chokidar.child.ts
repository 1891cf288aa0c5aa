/**
 * The process that chokidar runs in. Wiring only: commands come as lines of JSON on stdin, what it has to tell goes out on
 * stdout, the open root is descriptor 3.
 *
 * Begun twice: first it takes mounts of its own, and then starts anew with them, before it has any other thread to which
 * they would not belong. Invariant: nothing of the tree is touched before the root is that of the whole process.
 */
import {closeSync, fstatSync, writeSync} from 'node:fs';
import {TowlineError} from '../base/errors.ts';
import {plainError} from '../base/jobs.ts';
import {LineSplitter} from '../base/line-splitter.ts';
import {jailProcess, ownMounts} from '../linux/jail.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd, keepOnExec, openDirPath} from '../linux/open-fd.ts';
import {showPath} from '../model/path.ts';
import {ChokidarWatcher} from './chokidar-watcher.ts';
import type {FromChokidar, ToChokidar} from './jailed-chokidar.ts';
import type {WatchEvent} from './watcher.ts';

const ROOT_FD = 3;
const HAS_MOUNTS = '--own-mounts';
const LINE_BYTES_MAX = 1 << 20;
const PART_CHARS = 512 << 10; // of two bytes at most: with the longest event still within what is taken

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {}); // it ends with its input

if (!process.argv.includes(HAS_MOUNTS) && ownMounts()) {
  keepOnExec(ROOT_FD);
  const [, entry = '', ...args] = process.argv;
  process.execve?.(process.execPath, [process.execPath, ...process.execArgv, entry, ...args, HAS_MOUNTS], process.env);
}

let watcher: ChokidarWatcher | undefined;
const lines = new LineSplitter(LINE_BYTES_MAX);

process.stdin.on('data', (piece: Buffer) => {
  for (const line of lines.lines(piece)) void take(JSON.parse(line) as ToChokidar);
});
process.stdin.on('end', () => process.exit(0));

function tell(message: FromChokidar): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
}

/** Names may be long, and each of their characters six in JSON: many events are told in parts. */
function tellEvents(events: WatchEvent[]): void {
  let part: WatchEvent[] = [];
  let chars = 0;
  for (const event of events) {
    part.push(event);
    chars += JSON.stringify(event).length;
    if (chars < PART_CHARS) continue;
    tell({kind: 'events', events: part});
    [part, chars] = [[], 0];
  }
  if (part.length > 0) tell({kind: 'events', events: part});
}

async function take(command: ToChokidar): Promise<void> {
  if (command.kind === 'watch') return watchRoot(command);
  await watcher?.drain().catch(() => undefined); // it gave up, and has said so
  tell({kind: 'drained', id: command.id});
}

async function watchRoot({rootPath, skipDirs, options}: Extract<ToChokidar, {kind: 'watch'}>): Promise<void> {
  try {
    const rootFd = openOwn(rootPath);
    const path = jailProcess(rootFd) ? '/' : rootPath;
    watcher = new ChokidarWatcher(
      {rootFd, rootPath: path, skipDirs, onEvents: tellEvents},
      {...options, shownRoot: rootPath},
    );
    const {watchedDirs} = await watcher.start();
    closeFd(rootFd);
    tell({kind: 'started', watchedDirs});
  } catch (error) {
    tell({kind: 'failed', error: plainError(error)});
  }
}

/** What was given is open in the host's mounts, and would keep it busy there: the same directory in those of this process. */
function openOwn(rootPath: string): number {
  const given = identityOf(ROOT_FD);
  closeSync(ROOT_FD);
  try {
    const fd = openDirPath(rootPath);
    if (identityOf(fd) === given) return fd;
  } catch (error) {
    if (!isLinuxError(error)) throw error;
  }
  const path = showPath(rootPath);
  const message = `${path} cannot be watched: another directory is there now`;
  throw new TowlineError('SYSTEM', message, {syscall: 'open', errno: 'ENOENT', path});
}

function identityOf(fd: number): string {
  const {dev, ino} = fstatSync(fd, {bigint: true});
  return `${dev} ${ino}`;
}
