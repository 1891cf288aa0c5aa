/**
 * Carries out the source's steps: reads what has to be read, packs small changes into batches, sends large files beside
 * them, and learns from the answers what arrived.
 *
 * Not a planner. Invariants: batches leave in the order in which their steps came; a path is reported applied only
 * when the target answered that it is; a file that changed while it was read is reported, not sent.
 */
import {release} from '../base/memory.ts';
import {inlineBytesOf, opInView, type Op, type OpResult} from '../model/op.ts';
import {showPath, type RelPath} from '../model/path.ts';
import type {View} from '../model/view.ts';
import type {Step} from '../reconcile/plan-path.ts';
import type {BatchWriter} from '../wire/batch-writer.ts';
import type {Message} from '../wire/messages.ts';
import {ownEntry} from './groups.ts';
import {LargeQueue} from './large-queue.ts';
import {OldNames} from './old-names.ts';
import {OtherNames} from './other-names.ts';
import {
  countApplied,
  fromOf,
  leftName,
  newWriter,
  withoutBytes,
  type Item,
  type Ready,
  type SenderOptions,
  type SenderParts,
} from './send-item.ts';
import {SmallFiles} from './small-files.ts';

export const INLINE_FILE_BYTES_MAX = 64 * 1024;
const GROUP_ITEMS_MAX = 256;
const GROUP_OPS_MAX = 4_096; // with those that need no reading; what a batch holds
const GROUP_BYTES_MAX = 768 * 1024; // below a batch's limit with room for names
const GROUPS_READING_MAX = 2;
const BATCHES_OPEN_MAX = 4; // enough to keep both sides busy; more would only delay what is urgent
const ATTEMPTS_MAX = 3;

export class Sender {
  readonly #options: SenderOptions;
  readonly #parts: SenderParts;
  readonly #group: Item[] = [];
  #groupBytes = 0;
  readonly #otherNames: OtherNames;
  readonly #oldNames = new OldNames();
  readonly #work = new Set<Promise<void>>();
  readonly #openBatches = new Map<number, Ready[]>();
  readonly #smallFiles: SmallFiles;
  readonly #large: LargeQueue;
  #order: Promise<void> = Promise.resolve();
  #settling: Promise<void> | undefined;
  #reading = 0;
  #nextBatch = 1;
  #roomWaiters: (() => void)[] = [];
  #failure: Error | undefined;

  constructor(options: SenderOptions, parts: SenderParts) {
    this.#options = {...options};
    this.#parts = parts;
    const batches = {
      push: (item: Item, op: Op) => void this.#group.push({...item, op}),
      kick: () => this.kick(),
      refused: (item: Item, op: Op, result: OpResult) => this.#failed(item, op, result),
      track: (work: Promise<void>) => this.#track(work),
      room: () => this.#room(),
      wake: () => this.#wake(),
      answered: () => this.#answered(),
    };
    this.#smallFiles = new SmallFiles(this.#options, parts);
    this.#large = new LargeQueue(this.#options, {...parts, batches});
    this.#otherNames = new OtherNames({store: parts.store, isHot: (path) => this.#large.isHot(path)});
  }

  /** Names that the target links to others than the source does. */
  misgrouped: ReadonlySet<RelPath> = new Set();

  /** As both ends agreed on it. */
  set view(view: View) {
    this.#options.view = view;
  }

  /** Paths that are on their way. */
  get pendingCount(): number {
    let count = this.#group.length + this.#otherNames.size + this.#large.size;
    for (const batch of this.#openBatches.values()) count += batch.length;
    return count + this.#work.size; // what is just being read is on its way too
  }

  /** Whether all is answered but files that go on changing. */
  get isSettled(): boolean {
    const {open, all} = this.#large.hotCount;
    const restCount = this.pendingCount - all - open; // each that is open is at work too
    if (all === 0 || restCount === 0) return restCount === 0;
    // Only where nothing but other names is left: each of them is looked up.
    return restCount === this.#otherNames.size && this.#otherNames.areHot;
  }

  /** Takes a step, waiting while too much is on its way. @throws the reason why the session ended */
  async add(step: Step, noticedMs?: number): Promise<void> {
    const item: Item = {path: step.path, step, noticedMs, mustSend: false, attempts: 0};
    this.#oldNames.note(step);
    this.#oldNames.leaves(item);
    await this.#addItem(item);
  }

  async #addItem(item: Item): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const {path, step} = item;
    if (step.kind === 'file') {
      const entry = step.entry ?? this.#parts.store.entryAt(path);
      if (entry === undefined || entry.type !== 'file') return; // gone meanwhile: its event comes
      if (entry.nlink > 1 && !item.mustSend && this.#otherNames.take(item, entry)) return;
      if (!this.#options.isDryRun) {
        const {hot} = this.#parts;
        const at = {isNoticed: item.mustSend || item.noticedMs !== undefined, isOnItsWay: this.#large.isHot(path)};
        item.reading = hot === undefined ? 'at-rest' : hot.readingOf(path, at);
        if (item.reading === undefined) return; // it is looked at again soon, and was sent not long ago
        if (entry.sizeBytes > INLINE_FILE_BYTES_MAX || item.reading !== 'at-rest') return this.#large.add(item);
      }
      item.entry = entry;
      this.#groupBytes += this.#bytesOf(item);
    }
    this.#group.push(item);
    if (this.#group.length >= GROUP_ITEMS_MAX || this.#groupBytes >= GROUP_BYTES_MAX) await this.#sendGroup();
  }

  /** Of a small file that is to be read for the group. */
  #bytesOf({entry}: Item): number {
    return entry === undefined || this.#options.isDryRun ? 0 : entry.sizeBytes + entry.attrs.length;
  }

  /** Sends what waits for company. */
  async kick(): Promise<void> {
    while (this.#group.length > 0) await this.#sendGroup();
  }

  /** Resolves when everything added so far was answered. @throws the reason why the session ended */
  async flush(): Promise<void> {
    await this.settle();
    while (this.pendingCount > 0) await (this.isSettled ? this.#room() : this.settle());
  }

  /**
   * As `flush`, but for files that go on changing. Who asks while others wait waits with them: a large file may take
   * hours, in which it is asked for again and again.
   */
  settle(): Promise<void> {
    return (this.#settling ??= this.#settle());
  }

  async #settle(): Promise<void> {
    this.#otherNames.forget();
    try {
      for (;;) {
        await this.kick();
        await this.#order;
        if (this.#failure !== undefined) throw this.#failure;
        if (this.pendingCount === 0) this.#oldNames.clear(); // of files that went before they were read
        if (this.isSettled) return;
        const {open, all} = this.#large.hotCount;
        const isAnswering = this.#work.size > open || this.#large.size > all || this.#openBatches.size > 0;
        if (!isAnswering && this.#group.length > 0) continue;
        if (isAnswering || !this.#releaseOtherNames()) await this.#room();
      }
    } finally {
      this.#settling = undefined; // at once: what is added from now on is the next one's
    }
  }

  /** @returns whether any could be */
  #releaseOtherNames(): boolean {
    const {size} = this.#otherNames;
    for (const item of this.#otherNames.release()) this.#group.push(item); // more than a call takes arguments
    return this.#otherNames.size < size;
  }

  /** Resolves when every batch of what was added so far was answered, large files aside. */
  async #answered(): Promise<void> {
    await this.kick();
    await this.#order;
    const open = [...this.#openBatches.keys()];
    while (open.some((batch) => this.#openBatches.has(batch))) await this.#room();
  }

  /** A file changed again, or went away: what is being sent of it is out of date. */
  abortLarge(path: RelPath, isChange: boolean): void {
    this.#large.abort(path, isChange);
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
    else this.#large.take(message);
  }

  async #sendGroup(): Promise<void> {
    while (this.#reading >= GROUPS_READING_MAX || this.#openBatches.size >= BATCHES_OPEN_MAX) await this.#room();
    const items = this.#takeGroup(); // until now all of it was to be seen as on its way
    if (items.length === 0) return;
    this.#reading++;
    const reading = this.#smallFiles.read(items).finally(() => {
      this.#reading--;
      this.#wake();
    });
    reading.catch(() => undefined);
    // Reading overlaps, sending keeps the order.
    this.#order = this.#order.then(async () => {
      const {ready, bytes} = await reading;
      await this.#sendReady(ready);
      if (bytes !== undefined) release(bytes); // the frames hold copies
    });
    this.#track(this.#order);
    this.#order = this.#order.catch(() => undefined);
  }

  /** What was released together may be far more than one group, and the target lets only so many batches be open. */
  #takeGroup(): Item[] {
    let [count, undecided, bytes] = [0, 0, 0];
    for (const item of this.#group) {
      if (count >= GROUP_OPS_MAX || undecided >= GROUP_ITEMS_MAX || bytes >= GROUP_BYTES_MAX) break;
      bytes += this.#bytesOf(item);
      if (item.op === undefined) undecided++;
      count++;
    }
    this.#groupBytes -= bytes;
    return this.#group.splice(0, count);
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

  /** Waits until something ended. @throws the reason why the session ended */
  async #room(): Promise<void> {
    await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
    if (this.#failure !== undefined) throw this.#failure;
  }

  #wake(): void {
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
  }

  async #sendReady(ready: Ready[]): Promise<void> {
    let writer = newWriter(ready);
    let items: Ready[] = [];
    for (const {item, op} of ready) {
      const entry = {item, op: opInView(this.#apart(op), this.#options.view)};
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

  async #sendBatch(writer: BatchWriter, items: Ready[]): Promise<void> {
    const batch = this.#nextBatch++;
    const frame = writer.finish(this.#options.link, batch, 0);
    for (const {op} of items) this.#parts.stats.contentBytes += inlineBytesOf(op);
    // The bytes are in the frame: keep only what the answer needs.
    this.#openBatches.set(
      batch,
      items.map(({item, op}) => ({item, op: withoutBytes(op)})),
    );
    this.#parts.stats.batches++;
    await this.#parts.session.sendData(frame, true);
  }

  /** Metadata of a name that the target links to others would be theirs too: it gets an entry of its own. */
  #apart(op: Op): Op {
    if (op.kind !== 'set-meta' || op.type === 'dir' || !this.misgrouped.has(op.path)) return op;
    const entry = this.#parts.store.entryAt(op.path);
    return (entry && ownEntry(op.path, entry)) ?? op;
  }

  #takeResults(number: number, results: readonly OpResult[]): void {
    const batch = this.#openBatches.get(number);
    if (batch === undefined) return;
    this.#openBatches.delete(number);
    let hasLeft = false;
    for (const [index, {item, op}] of batch.entries()) {
      const result = results[index];
      if (result?.status !== 'done') {
        this.#failed(item, op, result);
        continue;
      }
      this.#applied(item, op);
      const left = this.#oldNames.take(item) ? leftName(item, op, this.#parts.store) : undefined;
      if (left === undefined) continue;
      this.#group.push(left); // in the same turn as the answer: who waits for all sees it on its way
      hasLeft = true;
    }
    if (hasLeft) this.#track(this.kick());
    this.#wake();
  }

  #applied(item: Item, op: Op): void {
    const {stats, events} = this.#parts;
    const have = item.step.kind === 'file' ? item.step.have : undefined;
    const isReplaced = have !== undefined && op.kind === 'put-file' && fromOf(item) === undefined;
    countApplied(stats, op, isReplaced);
    const sizeBytes = op.kind === 'put-file' ? op.sizeBytes : 0;
    events.onApplied({path: item.path, op, isReplaced, sizeBytes, noticedMs: item.noticedMs, hot: item.hot});
  }

  #failed(item: Item, op: Op, result: OpResult | undefined): void {
    const code = result?.status === 'failed' ? result.code : 'internal';
    const message = result?.status === 'failed' ? result.message : `${showPath(item.path)}: the target gave no answer`;
    const {path, step, noticedMs, attempts} = item;
    const isWorthATry = code === 'base-changed' || code === 'corrupt';
    const isFile =
      op.kind === 'put-file' || (op.kind === 'link' && this.#parts.store.entryAt(op.path)?.type === 'file');
    if (code === 'base-changed' && isFile && !item.mustSend && attempts === 0 && this.#parts.extents !== undefined) {
      this.#track(this.#addItem({path, step, noticedMs, mustSend: false, readsBase: true, attempts: 1}));
      return;
    }
    if (isWorthATry && isFile && item.attempts < ATTEMPTS_MAX) {
      // What the target was thought to have is not there: the bytes themselves go.
      const again: Step = {kind: 'file', path, have: undefined, destroys: 0, from: fromOf(item)};
      this.#track(this.#addItem({path, step: again, noticedMs, mustSend: true, attempts: attempts + 1}));
      return;
    }
    this.#parts.events.onFailed(item.path, code, message, 'target');
    // Without the link it arrives as a file of its own.
    if (code === 'links-refused' && step.kind === 'file' && op.kind === 'link')
      this.#track(this.#addItem({path, step, noticedMs, mustSend: true, attempts: ATTEMPTS_MAX}));
  }
}
