/**
 * Runs the large files of a link beside its batches, a few at a time, and hands over what each became as an operation.
 *
 * Not the transfer itself (large-file.ts). Invariant: one path is never in two transfers at once.
 */
import {sameDigest, type Digest} from '../model/digest.ts';
import {isUntouched, seenOf, type Entry} from '../model/entry.ts';
import type {Op, OpResult} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import {sameInPrecision} from '../model/tree.ts';
import type {Have} from '../reconcile/plan-path.ts';
import type {MessageOf} from '../wire/messages.ts';
import {LargeFile, READ_STATUS, type LargeFileOutcome} from './large-file.ts';
import {
  metaOp,
  noteContent,
  putFile,
  tellUnread,
  type Item,
  type SenderOptions,
  type SenderParts,
} from './send-item.ts';

/** The sender, which packs what becomes of large files into batches. */
export interface BatchPort {
  push(item: Item, op: Op): void;
  kick(): Promise<void>;
  refused(item: Item, op: Op, result: OpResult): void;
  /** Work that a flush waits for. */
  track(work: Promise<void>): void;
  /** Resolves when something ended. @throws the reason why the session ended */
  room(): Promise<void>;
  /** Something ended. */
  wake(): void;
  /** Resolves when all batches before were answered. @throws the reason why the session ended */
  answered(): Promise<void>;
}

interface Running {
  item: Item;
  entry: Entry;
  have: Have | undefined;
  transfer: number;
  large: LargeFile;
}

const LARGE_OPEN_MAX = 2;
const WAITING_MAX = 4_096; // paths only; so many large files don't hold back what comes after them
const NO_CONTENT = Buffer.alloc(32);

export class LargeQueue {
  readonly #options: SenderOptions;
  readonly #parts: SenderParts & {batches: BatchPort};
  readonly #large = new Map<number, LargeFile>();
  readonly #byPath = new Map<RelPath, LargeFile>();
  readonly #waiting: Item[] = [];
  #nextTransfer = 1;

  constructor(options: SenderOptions, parts: SenderParts & {batches: BatchPort}) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Transfers that are open or wait for their turn. */
  get size(): number {
    return this.#large.size + this.#waiting.length;
  }

  /** A file changed again: what is being sent of it is out of date. */
  abort(path: RelPath): void {
    this.#byPath.get(path)?.abort();
  }

  /** The peer's messages about a transfer. */
  take(message: MessageOf<'leaf-rejected'> | MessageOf<'file-staged'>): void {
    this.#large.get(message.transfer)?.take(message);
  }

  /** Takes a file, whose transfer starts when it is its turn. @throws the reason why the session ended */
  async add(item: Item): Promise<void> {
    while (this.#waiting.length >= WAITING_MAX) await this.#parts.batches.room();
    this.#waiting.push(item);
    this.#startNext();
  }

  #startNext(): void {
    while (this.#large.size < LARGE_OPEN_MAX) {
      const index = this.#waiting.findIndex(({path}) => !this.#byPath.has(path));
      const [item] = index < 0 ? [] : this.#waiting.splice(index, 1);
      if (item === undefined) return;
      const entry = this.#parts.store.entryAt(item.path);
      if (entry?.type === 'file') this.#start(item, entry); // else gone meanwhile: its event comes
    }
  }

  #start(item: Item, entry: Entry): void {
    const {session, jobs, signatures, seed, stats, batches} = this.#parts;
    const transfer = this.#nextTransfer++;
    const have = item.step.kind === 'file' && item.step.have?.type === 'file' ? item.step.have : undefined;
    const base =
      have?.content === undefined || item.mustSend
        ? undefined
        : {path: item.path, sizeBytes: have.sizeBytes, content: have.content};
    const onBytes = (literalBytes: number, copiedBytes: number): void => {
      stats.contentBytes += literalBytes;
      stats.copiedBytes += copiedBytes;
    };
    const accepts = (content: Digest): boolean => noteContent(this.#parts, item.path, {entry, content});
    const large = new LargeFile(
      {link: this.#options.link, transfer, path: item.path, expected: seenOf(entry), base},
      {session, jobs, signatures, seed, onBytes, accepts},
    );
    this.#large.set(transfer, large);
    this.#byPath.set(item.path, large);
    batches.track(this.#run({item, entry, have, transfer, large}));
  }

  async #run(running: Running): Promise<void> {
    try {
      // What it builds on may be on its way to this path: a rename, for one.
      if (running.have !== undefined) await this.#parts.batches.answered();
      const known = await this.#knownContent(running);
      if (known === 'stop') return;
      this.#takeOutcome(running, known ?? (await running.large.run()));
    } finally {
      this.#large.delete(running.transfer);
      this.#byPath.delete(running.item.path);
      this.#startNext();
      this.#parts.batches.wake();
    }
    await this.#parts.batches.kick();
  }

  /** A content that the target may have already is hashed first: then nothing has to be sent. */
  async #knownContent({item, entry, have}: Running): Promise<LargeFileOutcome | 'stop' | undefined> {
    const {store, jobs, stats, events, batches} = this.#parts;
    if (item.mustSend) return undefined;
    const mayBeEqual =
      have?.content !== undefined &&
      have.sizeBytes === entry.sizeBytes &&
      sameInPrecision(have.meta.mtime, entry.mtime, this.#options.view.timePrecisionNs);
    const mayBeTwin = have === undefined && store.countOfSize(entry.sizeBytes) > 1;
    if (!mayBeEqual && !mayBeTwin) return undefined;
    const read = await jobs.run('hash-files', {files: [{path: item.path, expected: seenOf(entry)}]}, {lane: 1});
    stats.filesHashed++;
    const [status = READ_STATUS.vanished, errno = 0] = [read.status[0], read.errno[0]];
    const {
      allocated: [allocatedBytes = entry.sizeBytes],
    } = read;
    if (status !== READ_STATUS.ok) {
      tellUnread(events, item.path, {status, errno});
      return 'stop';
    }
    const content = Buffer.from(read.digests);
    if (!noteContent(this.#parts, item.path, {entry, content})) return 'stop';
    if (sameDigest(content, have?.content)) return {kind: 'equal', content, allocatedBytes};
    const twin = store.pathWith(content, entry.sizeBytes, item.path);
    if (twin === undefined) return undefined;
    batches.push(item, putFile(item.path, entry, content, {from: 'copy', path: twin}, {allocatedBytes}));
    await batches.kick();
    return 'stop';
  }

  /** Others that wait to send this very version need not: a look and a comparison may both have asked for it. */
  #dropRepeats(path: RelPath, entry: Entry): void {
    const now = this.#parts.store.entryAt(path);
    if (now === undefined || !isUntouched(entry, now)) return;
    for (let index = this.#waiting.length - 1; index >= 0; index--)
      if (this.#waiting[index]?.path === path) this.#waiting.splice(index, 1);
  }

  #takeOutcome({item, entry, have, transfer}: Running, outcome: LargeFileOutcome): void {
    const {store, events, batches} = this.#parts;
    const {path} = item;
    switch (outcome.kind) {
      case 'kept-back':
        return;
      case 'unread':
        return tellUnread(events, path, outcome);
      case 'refused':
        return batches.refused(item, putFile(path, entry, NO_CONTENT, {from: 'staged', transfer}), outcome.result);
      case 'equal': {
        this.#dropRepeats(path, entry);
        store.setContentOf(entry, outcome.content);
        const {allocatedBytes} = outcome;
        const op = have && metaOp(path, entry, have, {view: this.#options.view, allocatedBytes});
        if (op !== undefined) batches.push(item, op);
        return;
      }
      case 'staged':
        this.#dropRepeats(path, entry);
        store.setContentOf(entry, outcome.content);
        batches.push(item, putFile(path, entry, outcome.content, {from: 'staged', transfer}, outcome));
    }
  }
}
