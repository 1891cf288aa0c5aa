/**
 * Runs the large files of a link beside its batches, a few at a time, and hands over what each became as an operation.
 *
 * Not the transfer itself (large-file.ts). Invariant: one path is never in two transfers at once.
 */
import {sameDigest, type Digest} from '../model/digest.ts';
import {isUntouched, seenOf, type Entry} from '../model/entry.ts';
import type {Op, OpResult} from '../model/op.ts';
import {PARTIAL_BYTES_MIN} from '../model/partial-file.ts';
import type {RelPath} from '../model/path.ts';
import type {Reading} from '../model/reading.ts';
import {sameInPrecision, treeEntryOf} from '../model/tree.ts';
import type {Have} from '../reconcile/plan-path.ts';
import type {Message} from '../wire/messages.ts';
import {ClonePauses} from './clone-pauses.ts';
import {HotVersions, versionSent} from './hot-versions.ts';
import {LargeFile, READ_STATUS, type LargeFileOutcome, type ReadFile} from './large-file.ts';
import {
  fromOf,
  metaOp,
  noteContent,
  putFile,
  tellUnread,
  withOldName,
  type Item,
  type SenderOptions,
  type SenderParts,
} from './send-item.ts';
import {isHotItem, WaitingFiles} from './waiting-files.ts';

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
  reading: Reading;
  startMs: number;
  transfer: number;
  large: LargeFile;
}

const LARGE_OPEN_MAX = 2;
const WAITING_MAX = 4_096; // paths only; so many large files don't hold back what comes after them
const SHORTER_MAX = 3;
const PARTIAL_MAX = 1_024;
const NO_CONTENT = Buffer.alloc(32);

export class LargeQueue {
  readonly #options: SenderOptions;
  readonly #parts: SenderParts & {batches: BatchPort};
  readonly #large = new Map<number, LargeFile>();
  readonly #byPath = new Map<RelPath, LargeFile>();
  readonly #waiting = new WaitingFiles();
  readonly #hotVersions = new HotVersions();
  /** Of these the target may have a part. */
  readonly #partial = new Set<RelPath>();
  readonly #clones: ClonePauses;
  #nextTransfer = 1;

  constructor(options: SenderOptions, parts: SenderParts & {batches: BatchPort}) {
    this.#options = options;
    this.#parts = parts;
    this.#clones = new ClonePauses({pauseMs: parts.extents?.pauseMs ?? 0}, parts);
  }

  /** Transfers that are open or wait for their turn. */
  get size(): number {
    return this.#large.size + this.#waiting.size;
  }

  /** Of these, files that are read as they are now: open, and with those that wait for their turn. */
  get hotCount(): {open: number; all: number} {
    const open = [...this.#byPath.values()].filter(({isHot}) => isHot).length;
    return {open, all: open + this.#waiting.hotCount};
  }

  /** Whether a file is one of these. */
  isHot(path: RelPath): boolean {
    return this.#byPath.get(path)?.isHot === true || this.#waiting.isHot(path);
  }

  /** A file changed again, or went away: what is being sent of it is out of date. */
  abort(path: RelPath, isChange: boolean): void {
    this.#byPath.get(path)?.abort(isChange);
    if (!isChange) this.#hotVersions.forget(path);
  }

  /** The peer's messages about transfers; others are not for here. */
  take(message: Message): void {
    if (message.kind === 'partial-files') for (const path of message.paths) this.#noteOne(path);
    if (message.kind === 'leaf-rejected' || message.kind === 'file-staged')
      this.#large.get(message.transfer)?.take(message);
  }

  /** Takes a file, whose transfer starts when it is its turn. @throws the reason why the session ended */
  async add(item: Item): Promise<void> {
    while (this.#waiting.size >= WAITING_MAX) await this.#parts.batches.room();
    // What is read as it is then need not be read twice: the one that waits has the older base.
    if (isHotItem(item) && !item.mustSend && this.#waiting.has(item.path)) return;
    this.#waiting.push(item);
    this.#startNext();
  }

  #startNext(): void {
    while (this.#large.size < LARGE_OPEN_MAX) {
      const item = this.#waiting.takeFirst((path) => !this.#byPath.has(path) && this.#clones.isDue(path));
      if (item === undefined && this.#waiting.size > 0) this.#clones.wake(() => this.#startNext());
      if (item === undefined) return;
      const entry = this.#parts.store.entryAt(item.path);
      if (entry?.type === 'file') this.#start(item, entry); // else gone meanwhile: its event comes
    }
  }

  #start(item: Item, entry: Entry): void {
    const {session, jobs, signatures, seed, stats, batches, clock, extents} = this.#parts;
    const transfer = this.#nextTransfer++;
    const reading = item.reading ?? 'at-rest';
    const planned = item.step.kind === 'file' && item.step.have?.type === 'file' ? item.step.have : undefined;
    const have =
      planned?.content === undefined ? (this.#hotVersions.of(fromOf(item) ?? item.path) ?? planned) : planned;
    const base =
      have?.content === undefined || item.mustSend
        ? undefined
        : {path: fromOf(item) ?? item.path, sizeBytes: have.sizeBytes, content: have.content};
    const onBytes = (literalBytes: number, copiedBytes: number): void => {
      stats.contentBytes += literalBytes;
      stats.copiedBytes += copiedBytes;
    };
    const accepts = (content: Digest): boolean => noteContent(this.#parts, item.path, {entry, content});
    const large = new LargeFile(
      {
        link: this.#options.link,
        transfer,
        path: item.path,
        expected: seenOf(entry),
        reading,
        base,
        mayBeHeld: this.#partial.has(item.path),
      },
      {session, jobs, signatures, seed, onBytes, accepts, extents: item.readsBase === true ? undefined : extents},
    );
    this.#large.set(transfer, large);
    this.#byPath.set(item.path, large);
    batches.track(this.#run({item, entry, have, reading, startMs: clock.nowMs(), transfer, large}));
  }

  async #run(running: Running): Promise<void> {
    try {
      // What it builds on may be on its way to this path: a rename, for one.
      if (running.have !== undefined) await this.#parts.batches.answered();
      const known = await this.#knownContent(running);
      if (known === 'stop') return;
      const outcome = known ?? (await running.large.run());
      this.#notePartial(running, outcome);
      this.#takeOutcome(running, outcome);
    } finally {
      this.#large.delete(running.transfer);
      this.#byPath.delete(running.item.path);
      this.#startNext();
      this.#parts.batches.wake();
    }
    await this.#parts.batches.kick();
  }

  /** What ended early is sent again soon, and the target may have kept what it got. */
  #notePartial({item: {path}, entry}: Running, {kind}: LargeFileOutcome): void {
    if (kind === 'staged' || kind === 'equal') this.#partial.delete(path);
    else if (entry.sizeBytes >= PARTIAL_BYTES_MIN) this.#noteOne(path);
  }

  #noteOne(path: RelPath): void {
    this.#partial.delete(path);
    this.#partial.add(path);
    for (const oldest of this.#partial) if (this.#partial.size > PARTIAL_MAX) this.#partial.delete(oldest);
  }

  /** A content that the target may have already is hashed first: then nothing has to be sent. */
  async #knownContent({item, entry, have, reading}: Running): Promise<LargeFileOutcome | 'stop' | undefined> {
    const {store, jobs, stats, events, batches} = this.#parts;
    if (item.mustSend || reading !== 'at-rest') return undefined;
    // Moved again before it was read under its last name: it may be as the target has it.
    const isMoved = have !== undefined && have.content === undefined && fromOf(item) !== undefined;
    const mayBeEqual =
      have !== undefined &&
      (have.content !== undefined || isMoved) &&
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
    if (sameDigest(content, have?.content) || (isMoved && mayBeEqual))
      return {kind: 'equal', content, allocatedBytes, isByExtents: false};
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
    this.#waiting.drop(path, (item) => fromOf(item) === undefined);
  }

  #takeOutcome(running: Running, outcome: LargeFileOutcome): void {
    const {batches, events} = this.#parts;
    const {item, entry, transfer} = running;
    if (outcome.kind === 'kept-back') return;
    if (outcome.kind === 'unread') {
      // Shorter than it was: what is there now is read, at once.
      const isShorter = outcome.status === READ_STATUS.changed && running.reading === 'torn';
      if (!isShorter || item.attempts >= SHORTER_MAX) return tellUnread(events, item.path, outcome);
      return batches.track(this.add({...item, attempts: item.attempts + 1}));
    }
    if (outcome.kind === 'refused') {
      this.#hotVersions.forget(item.path);
      return batches.refused(item, putFile(item.path, entry, NO_CONTENT, {from: 'staged', transfer}), outcome.result);
    }
    this.#takeRead(running, outcome);
  }

  #takeRead({item, entry, have, transfer, startMs}: Running, read: Extract<LargeFileOutcome, ReadFile>): void {
    const {store, batches, clock} = this.#parts;
    const {path} = item;
    const {content, allocatedBytes} = read;
    if (read.isByExtents) this.#clones.taken(path);
    const {sent, hot, isExpected} = versionSent(entry, read, {fromMs: startMs, toMs: clock.nowMs()});
    if (isExpected) {
      this.#dropRepeats(path, entry);
      store.setContentOf(entry, content);
    }
    // What changed while it was on its way is a delta to what was sent, whose content the state may not have noted.
    if (isExpected && !read.isByExtents) this.#hotVersions.forget(path);
    else this.#hotVersions.note(path, {...treeEntryOf(sent, this.#options.view), content, count: 0});
    const {view} = this.#options;
    const op =
      read.kind === 'staged'
        ? putFile(path, sent, content, {from: 'staged', transfer}, {allocatedBytes})
        : have && metaOp(path, sent, have, {view, allocatedBytes});
    for (const ready of withOldName({...item, hot}, op, content)) batches.push(ready.item, ready.op);
  }
}
