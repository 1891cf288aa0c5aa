/**
 * What lies outside of a volume and must stay as it is and unread: a tree of the same shape with secrets in it, and a
 * witness that the kernel tells whatever is opened, read or changed there.
 *
 * On a filesystem with strict access times, so that every reading of a file, a directory or a symlink also leaves a trace
 * behind. Invariant: looking at it does not change what is compared.
 */
import {
  chmodSync,
  closeSync,
  constants,
  openSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {makeSpecialAt} from '../../src/linux/files.ts';
import {IN_Q_OVERFLOW, InotifyEvents, openInotify, readInotify, watchDir} from '../../src/linux/inotify.ts';
import {O_PATH} from '../../src/linux/libc.ts';
import {closeFd, openDirPath} from '../../src/linux/open-fd.ts';
import {fromText} from '../../src/model/path.ts';
import {command} from '../sync/harness.ts';

/** In the content of every file, and in the name of some. */
export const SECRET = 'this-must-never-be-read';
const UID = 424_242;
const MTIME_S = 987_654_321;

const ALL_EVENTS = 0xfff;
const CONTENT_EVENTS = 0x3b; // opened, read, changed, closed: names come and go all the time where attackers are
const EVENT_NAMES = 'read changed attributes-changed written-closed closed opened moved-away moved-in created deleted'
  .split(' ')
  .map((name, bit) => [1 << bit, name] as const);

/** Directories, parents first, and files, relative to a folder. */
export interface Shape {
  dirs: readonly string[];
  files: readonly string[];
}

/** @param folder is made */
export function makeOutside(folder: string, shape: Shape): void {
  mkdirSync(folder);
  for (const dir of shape.dirs) mkdirSync(join(folder, dir));
  for (const dir of ['', ...shape.dirs]) writeFileSync(join(folder, dir, `${SECRET}-name`), SECRET);
  for (const file of shape.files) writeFileSync(join(folder, file), `${SECRET} ${file}\n`);
  symlinkSync('.', join(folder, 'link'));
  const fd = openDirPath(fromText(folder));
  makeSpecialAt(fd, 'fifo', 'fifo', 0o600, 0);
  closeFd(fd);
  for (const path of pathsBelow(folder)) {
    if (lstatSync(path).isSymbolicLink()) continue;
    utimesSync(path, MTIME_S, MTIME_S);
    chownSync(path, UID, UID);
    chmodSync(path, 0o705);
  }
}

/** Everything that a reader or a writer would change; without reading any of it. */
function look(paths: readonly string[]): string[] {
  return paths.map((path) => {
    const stat = lstatSync(path, {bigint: true});
    const {ino, mode, uid, gid, size, nlink, mtimeNs, ctimeNs, atimeNs} = stat;
    return [path, ino, mode, uid, gid, size, nlink, mtimeNs, ctimeNs, atimeNs].join(' ');
  });
}

function pathsBelow(folder: string): string[] {
  const names = readdirSync(folder, {withFileTypes: true});
  return [
    folder,
    ...names.flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? pathsBelow(path) : [path];
    }),
  ];
}

/** What a folder outside was when this was made, and all that happened to it since. */
export class Witness implements Disposable {
  readonly #folder: string;
  readonly #paths: string[];
  readonly #before: string[];
  readonly #inotifyFd = openInotify();
  readonly #watched = new Map<number, string>();
  readonly #events = new InotifyEvents(Buffer.alloc(64 * 1024));
  readonly #seen = new Set<string>();

  /** @param others files of any type that must not be opened, wherever they are; a FIFO or a device is not opened by this */
  constructor(folder: string, others: readonly string[] = []) {
    this.#folder = folder;
    this.#paths = pathsBelow(folder);
    for (const path of this.#paths) {
      const stat = lstatSync(path);
      if (stat.isDirectory() || stat.isFIFO()) this.#watch(path, ALL_EVENTS);
    }
    for (const path of others) this.#watch(path, CONTENT_EVENTS);
    this.#before = look(this.#paths);
  }

  #watch(path: string, mask: number): void {
    const held = openSync(path, O_PATH | constants.O_NOFOLLOW); // which opens nothing, and is not told
    this.#watched.set(watchDir(this.#inotifyFd, held, mask), path);
    closeSync(held);
  }

  /** What the kernel told until now: `opened PATH`, each once. */
  seen(): string[] {
    for (let size; (size = readInotify(this.#inotifyFd, this.#events.bytes)) > 0;) {
      this.#events.reset(size);
      while (this.#events.next()) this.#note();
    }
    return [...this.#seen];
  }

  #note(): void {
    const {watch, mask} = this.#events;
    if ((mask & IN_Q_OVERFLOW) !== 0) this.#seen.add('more than could be told');
    const watched = this.#watched.get(watch) ?? '';
    const name = this.#events.name();
    for (const [bit, what] of EVENT_NAMES) {
      if ((mask & bit) !== 0) this.#seen.add(`${what} ${watched}${name === '' ? '' : `/${name}`}`);
    }
  }

  /** Everything that is not as it was; what is read for that is read last. */
  faults(): string[] {
    const faults = this.seen();
    const now = look(this.#paths.filter((path) => lstatSync(path, {throwIfNoEntry: false}) !== undefined));
    faults.push(...this.#before.filter((line) => !now.includes(line)).map((line) => `not as it was: ${line}`));
    const names = pathsBelow(this.#folder);
    faults.push(...names.filter((path) => !this.#paths.includes(path)).map((path) => `new: ${path}`));
    return faults;
  }

  [Symbol.dispose](): void {
    closeFd(this.#inotifyFd);
  }
}

/** Lines that tell where something from outside is: its content, a name, an owner or a time. */
export function leaksIn(...folders: string[]): string[] {
  const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');
  return folders.flatMap((folder) => [
    ...lines(command('sh', '-c', 'grep -rlaF --devices=skip -- "$0" "$1" || [ $? = 1 ]', SECRET, folder)),
    ...lines(
      command(
        'find',
        folder,
        '(',
        '-name',
        `*${SECRET}*`,
        '-o',
        '-uid',
        String(UID),
        '-o',
        '-newermt',
        `@${MTIME_S - 1}`,
        '!',
        '-newermt',
        `@${MTIME_S}`,
        ')',
        '-print',
      ),
    ),
  ]);
}
