/**
 * Carries out the source's steps: reads what has to be read, packs small changes into batches, sends large files beside
 * them, and learns from the answers what arrived.
 *
 * Not a planner. Invariants: batches leave in the order in which their steps came; a path is reported applied only
 * when the target answered that it is; a file that changed while it was read is reported, not sent.
 */
import type {Clock} from '../base/clock.ts';
import type {JobRunner} from '../base/jobs.ts';
import {DIGEST_BYTES, LEAF_BYTES, sameDigest, type Digest} from '../model/digest.ts';
import {metaOf, statOf, type Entry, type Stat} from '../model/entry.ts';
import {inlineBytesOf, type Op, type OpResult} from '../model/op.ts';
import {showPath, type RelPath} from '../model/path.ts';
import type {ProblemCode} from '../model/problem.ts';
import type {LinkStats} from '../model/status.ts';
import type {View} from '../model/view.ts';
import {planMeta, type Have, type Step} from '../reconcile/plan-path.ts';
import {BatchWriter} from '../wire/batch-writer.ts';
import type {Message} from '../wire/messages.ts';
import {LargeFile, READ_STATUS, type LargeFileJobs, type LargeFileOutcome, type LargeFileParts} from './large-file.ts';
import type {Session} from './session.ts';

export interface FilesRead {
  status: Uint8Array;
  errno: Int32Array;
  notes: Uint8Array;
  digests: Uint8Array;
  bytes: Uint8Array;
}

type FilesJob = {in: {files: {path: RelPath; expected: Stat}[]}; out: FilesRead; part: never};
export type SenderJobs = LargeFileJobs & {'read-files': FilesJob; 'hash-files': FilesJob};

/** What the sender needs of the state. */
export interface SourceStore {
  entryAt(path: RelPath): Entry | undefined;
  setContentAt(path: RelPath, content: Digest): void;
  /** Other names of the same file, smallest first, with `path` among them. */
  namesOf(entry: Entry): RelPath[];
  /** A path that holds this content and was not changed since it was read. */
  pathWith(content: Digest, sizeBytes: number, except: RelPath): RelPath | undefined;
  hasOtherOfSize(sizeBytes: number, except: RelPath): boolean;
}

export type Applied = {path: RelPath; op: Op; isReplaced: boolean; sizeBytes: number; noticedMs: number | undefined};

export interface SenderEvents {
  onApplied(applied: Applied): void;
  /** A path that did not arrive: what is known about why. */
  onFailed(path: RelPath, code: ProblemCode, message: string, side: 'source' | 'target'): void;
  /** A file carries attributes that this version leaves behind. */
  onNotes(path: RelPath, notes: number): void;
}

export interface SenderParts extends Omit<LargeFileParts, 'onBytes' | 'jobs'> {
  session: Session;
  jobs: JobRunner<SenderJobs>;
  store: SourceStore;
  clock: Clock;
  stats: LinkStats;
  events: SenderEvents;
}

interface Item {
  path: RelPath;
  step: Step;
  noticedMs: number | undefined;
  /** Copying what the target should have failed once: send the bytes. */
  mustSend: boolean;
  attempts: number;
  /** What was decided once the content was known. */
  op?: Op;
}

interface OpenBatch {
  items: {item: Item; op: Op}[];
}

export const INLINE_FILE_BYTES_MAX = 64 * 1024;
const GROUP_ITEMS_MAX = 256;
const GROUP_BYTES_MAX = 768 * 1024; // below a batch's limit with room for names
const GROUPS_READING_MAX = 2;
const BATCHES_OPEN_MAX = 4; // enough to keep both sides busy; more would only delay what is urgent
const LARGE_OPEN_MAX = 2;
const ATTEMPTS_MAX = 3;

export class Sender {
  readonly #options: {link: number; view: View};
  readonly #parts: SenderParts;
  #group: Item[] = [];
  #groupBytes = 0;
  #links: Item[] = [];
  readonly #work = new Set<Promise<void>>();
  readonly #openBatches = new Map<number, OpenBatch>();
  readonly #large = new Map<number, LargeFile>();
  readonly #largeByPath = new Map<RelPath, LargeFile>();
  #order: Promise<void> = Promise.resolve();
  #reading = 0;
  #nextBatch = 1;
  #nextTransfer = 1;
  #roomWaiters: (() => void)[] = [];
  #failure: Error | undefined;

  constructor(options: {link: number; view: View}, parts: SenderParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Paths that are on their way. */
  get pendingCount(): number {
    let count = this.#group.length + this.#links.length + this.#large.size;
    for (const batch of this.#openBatches.values()) count += batch.items.length;
    return count + this.#work.size; // what is just being read is on its way too
  }

  /** Takes a step, waiting while too much is on its way. @throws the reason why the session ended */
  async add(step: Step, noticedMs?: number): Promise<void> {
    const item = {path: step.path, step, noticedMs, mustSend: false, attempts: 0};
    await this.#addItem(item);
  }

  async #addItem(item: Item): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const {path, step} = item;
    if (step.kind === 'file') {
      const entry = this.#parts.store.entryAt(path);
      if (entry === undefined || entry.type !== 'file') return; // gone meanwhile: its event comes
      if (entry.nlink > 1 && !item.mustSend && this.#parts.store.namesOf(entry)[0] !== path) {
        this.#links.push(item);
        return;
      }
      if (entry.sizeBytes > INLINE_FILE_BYTES_MAX) return this.#startLarge(item, entry);
      this.#groupBytes += entry.sizeBytes;
    }
    this.#group.push(item);
    if (this.#group.length >= GROUP_ITEMS_MAX || this.#groupBytes >= GROUP_BYTES_MAX) await this.#sendGroup();
  }

  /** Sends what waits for company. */
  async kick(): Promise<void> {
    if (this.#group.length > 0) await this.#sendGroup();
  }

  /** Resolves when everything added so far was answered. @throws the reason why the session ended */
  async flush(): Promise<void> {
    for (;;) {
      await this.kick();
      await this.#order;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#work.size > 0) await Promise.race(this.#work);
      else if (this.#openBatches.size > 0) await this.#room();
      else if (this.#group.length > 0) continue;
      else if (this.#links.length > 0) this.#sendLinks();
      else return;
    }
  }

  /** A file changed again: what is being sent of it is out of date. */
  abortLarge(path: RelPath): void {
    this.#largeByPath.get(path)?.abort();
  }

  /** The session ended: nothing more will be answered. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#openBatches.clear();
    this.#wake();
  }

  /** The peer's answers. */
  take(message: Message): void {
    if (message.kind === 'batch-result') this.#takeResults(message.batch, message.results);
    if (message.kind === 'leaf-rejected' || message.kind === 'file-staged')
      this.#large.get(message.transfer)?.take(message);
  }

  /** The other names of hard links, once the first name's content is there. */
  #sendLinks(): void {
    for (const item of this.#links.splice(0)) {
      const entry = this.#parts.store.entryAt(item.path);
      const first = entry === undefined ? undefined : this.#parts.store.namesOf(entry)[0];
      if (entry === undefined || first === undefined) continue;
      if (first === item.path) this.#group.push({...item, mustSend: true});
      else {
        this.#group.push({...item, op: {kind: 'link', path: item.path, to: first}, mustSend: true});
      }
    }
  }

  async #sendGroup(): Promise<void> {
    const items = this.#group;
    this.#group = [];
    this.#groupBytes = 0;
    while (this.#reading >= GROUPS_READING_MAX || this.#openBatches.size >= BATCHES_OPEN_MAX) {
      await this.#room();
      if (this.#failure !== undefined) throw this.#failure;
    }
    this.#reading++;
    const ready = this.#readGroup(items);
    ready.catch(() => undefined);
    // Reading overlaps, sending keeps the order.
    this.#order = this.#order.then(async () => this.#sendReady(await ready));
    this.#track(this.#order);
    this.#order = this.#order.catch(() => undefined);
  }

  #track(work: Promise<void>): void {
    const tracked: Promise<void> = work
      .catch((error: unknown) => {
        this.#failure ??= error as Error;
      })
      .finally(() => {
        this.#work.delete(tracked);
        this.#wake();
      });
    this.#work.add(tracked);
  }

  #room(): Promise<void> {
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
  }

  async #readGroup(items: Item[]): Promise<{item: Item; op: Op}[]> {
    try {
      const files = items.flatMap((item) => this.#fileOf(item));
      const wanted = files.map(({item, entry}) => ({path: item.path, expected: statOf(entry)}));
      const read = files.length === 0 ? undefined : await this.#parts.jobs.run('read-files', {files: wanted});
      const opOf = new Map<Item, Op | undefined>();
      let at = 0;
      for (const [index, {item, entry}] of files.entries()) {
        if (read === undefined) break;
        if (read.status[index] !== READ_STATUS.ok) {
          opOf.set(item, undefined);
          this.#unread(item.path, read.status[index] as number, read.errno[index] as number);
          continue;
        }
        const bytes = Buffer.from(read.bytes.buffer, read.bytes.byteOffset + at, entry.sizeBytes);
        at += entry.sizeBytes;
        const content = Buffer.from(read.digests.slice(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES));
        this.#parts.events.onNotes(item.path, read.notes[index] as number);
        opOf.set(item, this.#fileOp(item, entry, content, bytes));
      }
      return items.flatMap((item) => {
        const op = item.op ?? (item.step.kind === 'op' ? item.step.op : opOf.get(item));
        return op === undefined ? [] : [{item, op}];
      });
    } finally {
      this.#reading--;
      this.#wake();
    }
  }

  #fileOf(item: Item): {item: Item; entry: Entry}[] {
    if (item.step.kind !== 'file' || item.op !== undefined) return [];
    const entry = this.#parts.store.entryAt(item.path);
    return entry === undefined || entry.type !== 'file' || entry.sizeBytes > LEAF_BYTES ? [] : [{item, entry}];
  }

  /** What a file's content, now that it is known, makes of its step. */
  #fileOp(item: Item, entry: Entry, content: Digest, bytes: Buffer): Op | undefined {
    const {store} = this.#parts;
    const {path} = item;
    const have = item.step.kind === 'file' ? item.step.have : undefined;
    const twin = item.mustSend || entry.sizeBytes === 0 ? undefined : store.pathWith(content, entry.sizeBytes, path);
    store.setContentAt(path, content);
    if (have?.type === 'file' && sameDigest(content, have.content)) return this.#metaOp(path, entry, have);
    const source: Extract<Op, {kind: 'put-file'}>['source'] =
      twin === undefined ? {from: 'inline', bytes} : {from: 'copy', path: twin};
    return {kind: 'put-file', path, meta: metaOf(entry), sizeBytes: entry.sizeBytes, content, source};
  }

  #metaOp(path: RelPath, entry: Entry, have: Have): Op | undefined {
    const step = planMeta(path, 'file', metaOf(entry), have.meta, this.#options.view);
    return step?.kind === 'op' ? step.op : undefined;
  }

  async #sendReady(ready: {item: Item; op: Op}[]): Promise<void> {
    let writer = newWriter(ready);
    let items: {item: Item; op: Op}[] = [];
    for (const entry of ready) {
      if (!writer.append(entry.op)) {
        await this.#sendBatch(writer, items);
        writer = newWriter(ready);
        items = [];
        writer.append(entry.op);
      }
      items.push(entry);
    }
    if (items.length > 0) await this.#sendBatch(writer, items);
  }

  async #sendBatch(writer: BatchWriter, items: {item: Item; op: Op}[]): Promise<void> {
    const batch = this.#nextBatch++;
    const frame = writer.finish(this.#options.link, batch, 0);
    for (const {op} of items) this.#parts.stats.contentBytes += inlineBytesOf(op);
    // The bytes are in the frame: keep only what the answer needs.
    const kept = items.map(({item, op}) => ({item, op: withoutBytes(op)}));
    this.#openBatches.set(batch, {items: kept});
    this.#parts.stats.batches++;
    await this.#parts.session.sendData(frame, true);
  }

  #takeResults(number: number, results: readonly OpResult[]): void {
    const batch = this.#openBatches.get(number);
    if (batch === undefined) return;
    this.#openBatches.delete(number);
    for (const [index, {item, op}] of batch.items.entries()) {
      const result = results[index];
      if (result?.status === 'done') this.#applied(item, op);
      else this.#failed(item, op, result);
    }
    this.#wake();
  }

  #applied(item: Item, op: Op): void {
    const {stats, events} = this.#parts;
    const have = item.step.kind === 'file' ? item.step.have : undefined;
    const isReplaced = have !== undefined && op.kind === 'put-file';
    count(stats, op, isReplaced);
    const sizeBytes = op.kind === 'put-file' ? op.sizeBytes : 0;
    events.onApplied({path: item.path, op, isReplaced, sizeBytes, noticedMs: item.noticedMs});
  }

  #failed(item: Item, op: Op, result: OpResult | undefined): void {
    const code = result?.status === 'failed' ? result.code : 'internal';
    const message = result?.status === 'failed' ? result.message : `${showPath(item.path)}: the target gave no answer`;
    const isWorthATry = code === 'base-changed' || code === 'corrupt';
    const isFile = op.kind === 'put-file' || op.kind === 'link';
    if (isWorthATry && isFile && item.attempts < ATTEMPTS_MAX) {
      // What the target was thought to have is not there: the bytes themselves go.
      const {path, noticedMs, attempts} = item;
      const step: Step = {kind: 'file', path, have: undefined, destroys: 0};
      this.#track(this.#addItem({path, step, noticedMs, mustSend: true, attempts: attempts + 1}));
      return;
    }
    this.#parts.events.onFailed(item.path, code, message, 'target');
  }

  #unread(path: RelPath, status: number, errno: number): void {
    const shown = showPath(path);
    if (status === READ_STATUS.vanished)
      return this.#parts.events.onFailed(path, 'vanished', `${shown} went away before it was read`, 'source');
    if (status === READ_STATUS.changed)
      return this.#parts.events.onFailed(
        path,
        'changing',
        `${shown} changed while it was read; it is read again`,
        'source',
      );
    this.#parts.events.onFailed(
      path,
      'unreadable',
      `${shown} cannot be read (errno ${errno}); its old version stays on the target`,
      'source',
    );
  }

  async #startLarge(item: Item, entry: Entry): Promise<void> {
    while (this.#large.size >= LARGE_OPEN_MAX || this.#largeByPath.has(item.path)) {
      await this.#room();
      if (this.#failure !== undefined) throw this.#failure;
    }
    const transfer = this.#nextTransfer++;
    const have = item.step.kind === 'file' && item.step.have?.type === 'file' ? item.step.have : undefined;
    const base =
      have?.content === undefined || item.mustSend
        ? undefined
        : {path: item.path, sizeBytes: have.sizeBytes, content: have.content};
    const large = new LargeFile(
      {link: this.#options.link, transfer, path: item.path, expected: statOf(entry), base},
      {
        session: this.#parts.session,
        jobs: this.#parts.jobs,
        signatures: this.#parts.signatures,
        seed: this.#parts.seed,
        onBytes: (literalBytes, copiedBytes) => {
          this.#parts.stats.contentBytes += literalBytes;
          this.#parts.stats.copiedBytes += copiedBytes;
        },
      },
    );
    this.#large.set(transfer, large);
    this.#largeByPath.set(item.path, large);
    this.#track(this.#runLarge(item, {entry, have, transfer, large}));
  }

  async #runLarge(
    item: Item,
    running: {entry: Entry; have: Have | undefined; transfer: number; large: LargeFile},
  ): Promise<void> {
    const {entry, have, transfer, large} = running;
    const known = await this.#knownTwin(item, entry, have);
    if (known === 'stop') return this.#endLarge(transfer, item.path);
    try {
      const outcome = known ?? (await large.run());
      this.#takeOutcome(item, entry, have, transfer, outcome);
    } finally {
      this.#endLarge(transfer, item.path);
    }
    await this.kick();
  }

  #endLarge(transfer: number, path: RelPath): void {
    this.#large.delete(transfer);
    this.#largeByPath.delete(path);
    this.#wake();
  }

  /** A content that the target may have already is hashed first: then nothing has to be sent. */
  async #knownTwin(item: Item, entry: Entry, have: Have | undefined): Promise<LargeFileOutcome | 'stop' | undefined> {
    const {store, jobs} = this.#parts;
    if (item.mustSend) return undefined;
    const mayBeEqual =
      have?.content !== undefined &&
      have.sizeBytes === entry.sizeBytes &&
      have.meta.mtime.s === entry.mtime.s &&
      have.meta.mtime.ns === entry.mtime.ns;
    const mayBeTwin = have === undefined && store.hasOtherOfSize(entry.sizeBytes, item.path);
    if (!mayBeEqual && !mayBeTwin) return undefined;
    const read = await jobs.run('hash-files', {files: [{path: item.path, expected: statOf(entry)}]}, {lane: 1});
    this.#parts.stats.filesHashed++;
    if (read.status[0] !== READ_STATUS.ok) {
      this.#unread(item.path, read.status[0] as number, read.errno[0] as number);
      return 'stop';
    }
    const content = Buffer.from(read.digests);
    const notes = read.notes[0] as number;
    if (sameDigest(content, have?.content)) return {kind: 'equal', content, notes};
    const twin = store.pathWith(content, entry.sizeBytes, item.path);
    if (twin === undefined) return undefined;
    store.setContentAt(item.path, content);
    this.#parts.events.onNotes(item.path, notes);
    const op: Op = {
      kind: 'put-file',
      path: item.path,
      meta: metaOf(entry),
      sizeBytes: entry.sizeBytes,
      content,
      source: {from: 'copy', path: twin},
    };
    this.#parts.stats.copiedBytes += entry.sizeBytes;
    this.#pushOp(item, op);
    await this.kick();
    return 'stop';
  }

  #pushOp(item: Item, op: Op): void {
    this.#group.push({...item, op});
  }

  #takeOutcome(item: Item, entry: Entry, have: Have | undefined, transfer: number, outcome: LargeFileOutcome): void {
    const {store, events} = this.#parts;
    switch (outcome.kind) {
      case 'unread':
        return this.#unread(item.path, outcome.status, outcome.errno);
      case 'refused':
        return this.#failed(
          item,
          {
            kind: 'put-file',
            path: item.path,
            meta: metaOf(entry),
            sizeBytes: 0,
            content: Buffer.alloc(32),
            source: {from: 'staged', transfer},
          },
          outcome.result,
        );
      case 'equal': {
        store.setContentAt(item.path, outcome.content);
        events.onNotes(item.path, outcome.notes);
        const op = have === undefined ? undefined : this.#metaOp(item.path, entry, have);
        if (op !== undefined) this.#pushOp(item, op);
        return;
      }
      case 'staged':
        store.setContentAt(item.path, outcome.content);
        events.onNotes(item.path, outcome.notes);
        this.#pushOp(item, {
          kind: 'put-file',
          path: item.path,
          meta: metaOf(entry),
          sizeBytes: entry.sizeBytes,
          content: outcome.content,
          source: {from: 'staged', transfer},
        });
    }
  }
}

function newWriter(ready: readonly {op: Op}[]): BatchWriter {
  const bytes = ready.reduce((sum, {op}) => sum + 160 + inlineBytesOf(op), 0);
  return new BatchWriter({capacityBytes: Math.min(bytes, 1 << 20)});
}

function withoutBytes(op: Op): Op {
  if (op.kind !== 'put-file' || op.source.from !== 'inline') return op;
  return {...op, source: {from: 'inline', bytes: Buffer.alloc(0)}};
}

function count(stats: LinkStats, op: Op, isReplaced: boolean): void {
  if (op.kind === 'put-file') stats.filesSent++;
  if (op.kind === 'delete') stats.deleted++;
  else if (op.kind === 'rename' || op.kind === 'exchange') stats.renamed++;
  else if (op.kind === 'link') stats.linked++;
  else if (op.kind === 'set-meta') stats.metaChanged++;
  else if (isReplaced) stats.replaced++;
  else stats.created++;
}
