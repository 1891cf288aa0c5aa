/**
 * What was deleted and overwritten, and where it went: lines of JSON in files of a folder of its own, rotated by size.
 *
 * For people and programs that ask later; nothing is decided by it. Lines wait up to a second in memory. A disk that is
 * full loses lines, which is told, and stops nothing. Invariant: a line that was cut off by a crash is skipped by readers
 * and spoils no other; names of files sort by their age.
 */
import {closeSync, constants, fstatSync, openSync, readdirSync, readSync, unlinkSync, writeSync} from 'node:fs';
import {open} from 'node:fs/promises';
import {join} from 'node:path';
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import {LineSplitter} from '../base/line-splitter.ts';
import {pathFromJson, pathToJson} from '../model/path-json.ts';
import {isWithin, type RelPath} from '../model/path.ts';
import {prepareFile, prepareFolder} from './state-files.ts';

/** One path that was deleted, or that something else took the place of. */
export interface ActionRecord {
  atMs: number;
  volume: string;
  /** Name of the peer that asked for it. */
  peer: string;
  /** Number of the batch that did it, unique for the volume. */
  batch: number;
  op: string;
  path: RelPath;
  /** For what has two paths: the other one. */
  to?: RelPath | undefined;
  /** Relative to the volume's trash folder; undefined when nothing was put there. */
  place?: string | undefined;
  reason: string;
}

export interface ActionLogOptions {
  /** From this size on a new file is begun. */
  fileBytesMax?: number;
  /** So many files are kept. */
  filesMax?: number;
  onNotice(message: string): void;
}

export interface ActionQuery {
  volume?: string | undefined;
  /** This path, and what is below it. */
  path?: RelPath | undefined;
  sinceMs?: number | undefined;
  /** The last so many of those. */
  limit?: number | undefined;
}

const FILE_BYTES_MAX = 16 << 20;
const FILES_MAX = 8;
const WAITING_BYTES_MAX = 64 << 10;
const WAITING_MS_MAX = 100; // who asks for the log right after a change finds it
const LINE_BYTES_MAX = 1 << 20; // two paths of the longest, escaped and as base64
const READ_BYTES = 256 << 10;
const FILE_PATTERN = /^actions-\d{12}\.ndjson$/;
const NEWLINE = 0x0a;

/** @param folder of the log alone; made when it is missing @throws REFUSED when others may write there */
export function openActionLog(folder: string, options: ActionLogOptions): ActionLog {
  try {
    prepareFolder(folder);
  } catch (error) {
    if (!isTowlineError(error) || error.code !== 'SYSTEM') throw error; // tried again at the first line
  }
  return new ActionLog(folder, options);
}

export class ActionLog {
  readonly #folder: string;
  readonly #options: Required<ActionLogOptions>;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #file: {fd: number; sizeBytes: number} | undefined;
  #lostCount = 0;
  #isFailing = false;
  #isClosed = false;

  constructor(folder: string, options: ActionLogOptions) {
    this.#folder = folder;
    this.#options = {fileBytesMax: FILE_BYTES_MAX, filesMax: FILES_MAX, ...options};
  }

  /** Lines that could not be written. */
  get lostCount(): number {
    return this.#lostCount;
  }

  note(record: ActionRecord): void {
    if (this.#isClosed) return;
    const line = lineOf(record);
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    if (this.#waitingBytes >= WAITING_BYTES_MAX) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), WAITING_MS_MAX).unref();
  }

  /** Writes what waits. Never throws: what cannot be written is counted, and told when it begins and when it ends. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const count = this.#waiting.length;
    if (count === 0) return;
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#waitingBytes = 0;
    const written = {bytes: 0};
    try {
      this.#write(bytes, written);
      if (this.#isFailing)
        this.#options.onNotice(`the log of deletes is written again; ${this.#lostCount} lines were lost`);
      this.#isFailing = false;
    } catch (error) {
      this.#lostCount += count - linesIn(bytes.subarray(0, written.bytes));
      this.#closeFile(); // looked at anew when it is opened again: its last line may be cut off
      if (!this.#isFailing) this.#options.onNotice(`the log of deletes loses lines: ${messageOf(error)}`);
      this.#isFailing = true;
    }
  }

  close(): void {
    this.flush();
    this.#isClosed = true;
    this.#closeFile();
  }

  #write(bytes: Buffer, written: {bytes: number}): void {
    if (this.#file !== undefined && this.#file.sizeBytes >= this.#options.fileBytesMax) this.#closeFile();
    const file = (this.#file ??= this.#openFile());
    while (written.bytes < bytes.length) {
      const count = writeSync(file.fd, bytes, written.bytes);
      written.bytes += count;
      file.sizeBytes += count;
    }
  }

  /** The newest file, or the next one when that is full; the oldest goes then. */
  #openFile(): {fd: number; sizeBytes: number} {
    prepareFolder(this.#folder);
    const names = logFiles(this.#folder);
    const last = names.at(-1);
    if (last !== undefined) {
      const file = openToAppend(prepareFile(this.#folder, last));
      if (file.sizeBytes < this.#options.fileBytesMax) return file;
      closeSync(file.fd);
    }
    const number = last === undefined ? 1 : Number(/\d+/.exec(last)?.[0]) + 1;
    const file = openToAppend(prepareFile(this.#folder, `actions-${String(number).padStart(12, '0')}.ndjson`));
    for (const name of names.slice(0, Math.max(0, names.length + 1 - this.#options.filesMax)))
      unlinkSync(join(this.#folder, name));
    return file;
  }

  #closeFile(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }
}

/** Opens a file whose last line is whole: one that a crash cut off is ended, so that it stays alone. */
function openToAppend(path: string): {fd: number; sizeBytes: number} {
  const fd = openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW);
  try {
    const sizeBytes = fstatSync(fd).size;
    const last = Buffer.alloc(1, NEWLINE);
    if (sizeBytes > 0) readSync(fd, last, 0, 1, sizeBytes - 1);
    if (last[0] === NEWLINE) return {fd, sizeBytes};
    writeSync(fd, '\n');
    return {fd, sizeBytes: sizeBytes + 1};
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function linesIn(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) count++;
  return count;
}

function logFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => FILE_PATTERN.test(name))
    .sort();
}

/** Oldest first. Nothing when there is no log. May be called while the log is written. @throws SYSTEM when it cannot be read */
export async function* readActionLog(folder: string, query: ActionQuery = {}): AsyncGenerator<ActionRecord> {
  const names = existingFiles(folder);
  const {limit} = query;
  if (limit === undefined) {
    for (const name of names) yield* recordsIn(join(folder, name), query);
    return;
  }
  let last: ActionRecord[] = [];
  for (const name of names.toReversed()) {
    if (last.length >= limit) break;
    const found: ActionRecord[] = [];
    for await (const record of recordsIn(join(folder, name), query)) {
      found.push(record);
      if (found.length >= 2 * limit) found.splice(0, found.length - limit);
    }
    last = [...found, ...last];
  }
  yield* last.slice(Math.max(0, last.length - limit));
}

function existingFiles(folder: string): string[] {
  try {
    return logFiles(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw unreadable(folder, error);
  }
}

async function* recordsIn(path: string, query: ActionQuery): AsyncGenerator<ActionRecord> {
  for await (const line of linesOf(path)) {
    const record = recordOf(line);
    if (record === undefined) continue;
    if (query.volume !== undefined && record.volume !== query.volume) continue;
    if (query.sinceMs !== undefined && record.atMs < query.sinceMs) continue;
    const {path: asked} = query;
    if (asked !== undefined && ![record.path, record.to].some((one) => one !== undefined && isWithin(one, asked)))
      continue;
    yield record;
  }
}

/** Lines that are whole; one that is too long is none of ours. */
async function* linesOf(path: string): AsyncGenerator<string> {
  let file;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // rotated away meanwhile
    throw unreadable(path, error);
  }
  try {
    const splitter = new LineSplitter(LINE_BYTES_MAX);
    const piece = Buffer.alloc(READ_BYTES);
    for (let size; (size = (await file.read(piece, 0, READ_BYTES)).bytesRead) > 0;)
      yield* splitter.lines(piece.subarray(0, size));
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    await file.close();
  }
}

function unreadable(path: string, error: unknown): TowlineError {
  const errno = (error as NodeJS.ErrnoException).code ?? 'EIO';
  return new TowlineError('SYSTEM', `the log ${path} cannot be read: ${messageOf(error)}`, {
    syscall: 'read',
    errno,
    path,
  });
}

function lineOf(record: ActionRecord): string {
  const {atMs, volume, peer, batch, op, path, to, place, reason} = record;
  const paths = {...pathToJson('path', path), ...(to === undefined ? {} : pathToJson('to', to))};
  return `${JSON.stringify({at: new Date(atMs).toISOString(), volume, peer, batch, op, ...paths, place, reason})}\n`;
}

/** @returns undefined for what is no line of a log */
function recordOf(line: string): ActionRecord | undefined {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  if (typeof fields !== 'object' || fields === null) return undefined;
  const {volume, peer, batch, op, place, reason} = fields;
  const atMs = typeof fields['at'] === 'string' ? Date.parse(fields['at']) : NaN;
  const path = pathFromJson('path', fields);
  const to = pathFromJson('to', fields);
  if (Number.isNaN(atMs) || path === undefined || typeof batch !== 'number') return undefined;
  if (typeof volume !== 'string' || typeof peer !== 'string') return undefined;
  if (typeof op !== 'string' || typeof reason !== 'string') return undefined;
  return {atMs, volume, peer, batch, op, path, to, place: typeof place === 'string' ? place : undefined, reason};
}
