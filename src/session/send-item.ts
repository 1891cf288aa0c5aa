/**
 * The nouns of sending: a step on its way, what sending needs of the state and of the volume's workers, what it tells.
 *
 * Holds no state of its own and sends nothing.
 */
import {getSystemErrorName} from 'node:util';
import type {Clock} from '../base/clock.ts';
import type {JobRunner} from '../base/jobs.ts';
import type {Digest} from '../model/digest.ts';
import {metaOf, type Entry, type Seen} from '../model/entry.ts';
import {corruptHere} from '../model/problem.ts';
import {inlineBytesOf, type Op} from '../model/op.ts';
import {showPath, type RelPath} from '../model/path.ts';
import type {HotRead, Reading} from '../model/reading.ts';
import type {ProblemCode} from '../model/problem.ts';
import type {LinkStats} from '../model/status.ts';
import {metaInView, type View} from '../model/view.ts';
import {planMeta, type Have, type Step} from '../reconcile/plan-path.ts';
import {BatchWriter} from '../wire/batch-writer.ts';
import {READ_STATUS, type LargeFileJobs, type LargeFileParts} from './large-file.ts';
import type {LinkSession} from './link-port.ts';

export interface FilesRead {
  status: Uint8Array;
  errno: Int32Array;
  /** Bytes allocated; a file's size where it has no holes. */
  allocated: Float64Array;
  digests: Uint8Array;
  bytes: Uint8Array;
}

type FilesJob = {in: {files: {path: RelPath; expected: Seen}[]}; out: FilesRead; part: never};
export type SenderJobs = LargeFileJobs & {'read-files': FilesJob; 'hash-files': FilesJob};

/** What the sender needs of the state. */
export interface SourceStore {
  entryAt(path: RelPath): Entry | undefined;
  /**
   * Notes the content of a file that was read as this entry of the state says; not if it is another by now.
   * @returns false, and nothing is noted, when other bytes were read there before and nothing tells of a change
   */
  setContentOf(entry: Entry, content: Digest): boolean;
  /** Other names of the same file, smallest first, with `path` among them. */
  namesOf(entry: Entry): RelPath[];
  /** A path that holds this content and was not changed since it was read. */
  pathWith(content: Digest, sizeBytes: number, except: RelPath): RelPath | undefined;
  /** Files of exactly this size; 0 for small sizes, which are read anyway. */
  countOfSize(sizeBytes: number): number;
}

export interface Applied {
  path: RelPath;
  op: Op;
  isReplaced: boolean;
  sizeBytes: number;
  noticedMs: number | undefined;
  /** Set where it is not the file's present version. */
  hot?: HotRead | undefined;
}

export interface SenderEvents {
  onApplied(applied: Applied): void;
  /** A path that did not arrive: what is known about why. */
  onFailed(path: RelPath, code: ProblemCode, message: string, side: 'source' | 'target'): void;
}

/** Knows which files change each time they are read. */
export interface HotPort {
  /**
   * How a file is to be read.
   * @param at `isNoticed`: a change of it was; `isOnItsWay`: it is being sent as it was when that began
   * @returns undefined: not now, it is waited for elsewhere
   */
  readingOf(path: RelPath, at: {isNoticed: boolean; isOnItsWay: boolean}): Reading | undefined;
}

export interface SenderOptions {
  link: number;
  view: View;
  /** Nothing is read for the target, which applies to its state alone. */
  isDryRun: boolean;
}

export interface SenderParts extends Omit<LargeFileParts, 'onBytes' | 'jobs'> {
  session: LinkSession;
  jobs: JobRunner<SenderJobs>;
  store: SourceStore;
  clock: Clock;
  stats: LinkStats;
  events: SenderEvents;
  /** Without it every file is read at rest. */
  hot?: HotPort | undefined;
}

/** A step on its way. */
export interface Item {
  path: RelPath;
  step: Step;
  noticedMs: number | undefined;
  /** Copying what the target should have failed once: send the bytes. */
  mustSend: boolean;
  /** The target's base was touched while parts of it were taken unread: they are read this time. */
  readsBase?: boolean;
  attempts: number;
  /** The file as it was when the step was taken. */
  entry?: Entry;
  reading?: Reading | undefined;
  /** What was read is not the present version. */
  hot?: HotRead | undefined;
  /** What was decided once the content was known. */
  op?: Op;
}

/** An operation and the item that it carries out. */
export interface Ready {
  item: Item;
  op: Op;
}

/**
 * What is done for a file that came from another name, when its content is known: one with its old content is renamed.
 * What was sent goes from under its old name once it has arrived (`leftName`).
 * @param op for the file as such; undefined where the content is equal, and nothing else differs
 * @param content of the file
 */
export function withOldName(item: Item, op: Op | undefined, content: Digest): Ready[] {
  const ready = op === undefined ? [] : [{item, op}];
  const from = fromOf(item);
  if (from === undefined || op?.kind === 'put-file') return ready;
  const old: Op = {kind: 'rename', path: from, to: item.path, type: 'file', content};
  return [{item: oldName(item, from, old), op: old}, ...ready];
}

/**
 * What is left to be done once a file has arrived under its new name: until then the target has it under the old one.
 * @returns undefined where there is nothing, or where something else has the old name by now
 */
export function leftName(item: Item, op: Op, store: Pick<SourceStore, 'entryAt'>): Item | undefined {
  const from = fromOf(item);
  if (from === undefined || op.kind !== 'put-file' || store.entryAt(from) !== undefined) return undefined;
  return oldName(item, from, {kind: 'delete', path: from, type: 'file'});
}

function oldName({noticedMs}: Item, path: RelPath, op: Op): Item {
  return {path, step: {kind: 'op', path, op, destroys: 0}, noticedMs, mustSend: false, attempts: 0};
}

/** A file's operation, whole, from wherever the target gets its bytes. */
export function putFile(
  path: RelPath,
  entry: Entry,
  content: Digest,
  source: Extract<Op, {kind: 'put-file'}>['source'],
  read: {allocatedBytes?: number | undefined} = {},
): Extract<Op, {kind: 'put-file'}> {
  const {sizeBytes} = entry;
  const allocatedBytes = (read.allocatedBytes ?? sizeBytes) < sizeBytes ? read.allocatedBytes : undefined;
  return {kind: 'put-file', path, meta: metaOf(entry), sizeBytes, content, source, allocatedBytes};
}

/**
 * What is left to be done for a file whose content is equal. What the target has allocated of one with holes is known
 * there alone: it is told whenever the file was read.
 * @param allocatedBytes of the file that was read; undefined where it was not
 */
export function metaOp(
  path: RelPath,
  entry: Entry,
  have: Have,
  {view, allocatedBytes}: {view: View; allocatedBytes: number | undefined},
): Op | undefined {
  const step = planMeta(path, 'file', entry, have, view);
  if (step?.kind === 'op' && step.op.kind === 'set-meta') return {...step.op, allocatedBytes};
  if (allocatedBytes === undefined || allocatedBytes >= entry.sizeBytes) return undefined;
  return {kind: 'set-meta', path, type: 'file', meta: metaInView(metaOf(entry), 'file', view), allocatedBytes};
}

/** Tells why a file could not be read as one version. @param status one of READ_STATUS, not `ok` */
export function tellUnread(events: SenderEvents, path: RelPath, read: {status: number; errno: number}): void {
  const shown = showPath(path);
  if (read.status === READ_STATUS.vanished)
    return events.onFailed(path, 'vanished', `${shown} went away before it was read`, 'source');
  if (read.status === READ_STATUS.changed)
    return events.onFailed(path, 'changing', `${shown} changed while it was read; it is read again`, 'source');
  const message = `${shown} cannot be read (${errnoName(read.errno)}); its old version stays on the target`;
  events.onFailed(path, 'unreadable', message, 'source');
}

/** Notes what a file holds. @returns false, and tells it, when it rots: then it is not to be sent */
export function noteContent(
  {store, events}: {store: SourceStore; events: SenderEvents},
  path: RelPath,
  {entry, content}: {entry: Entry; content: Digest},
): boolean {
  if (store.setContentOf(entry, content)) return true;
  const known = entry.content as Digest; // or nothing could contradict it
  events.onFailed(path, 'corrupt-here', corruptHere(path, {known, found: content, side: 'source'}), 'source');
  return false;
}

function errnoName(errno: number): string {
  return errno > 0 ? getSystemErrorName(-errno) : 'no reason given';
}

/** Counts what the target did. */
export function countApplied(stats: LinkStats, op: Op, isReplaced: boolean): void {
  if (op.kind === 'put-file') stats.filesSent++;
  if (op.kind === 'put-file' && op.source.from === 'copy') stats.copiedBytes += op.sizeBytes;
  if (op.kind === 'delete') stats.deleted++;
  else if (op.kind === 'rename' || op.kind === 'exchange') stats.renamed++;
  else if (op.kind === 'link') stats.linked++;
  else if (op.kind === 'set-meta') stats.metaChanged++;
  else if (isReplaced) stats.replaced++;
  else stats.created++;
}

export function newWriter(ready: readonly {op: Op}[]): BatchWriter {
  const bytes = ready.reduce((sum, {op}) => sum + 160 + inlineBytesOf(op), 0);
  return new BatchWriter({capacityBytes: Math.min(bytes, 1 << 20)});
}

/** @param readyOf what became of files that were read */
export function opsOfItem(item: Item, readyOf: ReadonlyMap<Item, Ready[]>): Ready[] {
  const op = item.op ?? (item.step.kind === 'op' ? item.step.op : undefined);
  return op === undefined ? (readyOf.get(item) ?? []) : [{item, op}];
}

/** The name under which the target has the file, where it is another. */
export function fromOf({step}: Item): RelPath | undefined {
  return step.kind === 'file' ? step.from : undefined;
}

/** What an answer needs of an operation. */
export function withoutBytes(op: Op): Op {
  if (op.kind !== 'put-file' || op.source.from !== 'inline') return op;
  return {...op, source: {from: 'inline', bytes: Buffer.alloc(0)}};
}
