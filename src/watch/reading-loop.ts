/**
 * The loop of the reading thread: sleeps until the kernel has events for one of many volumes, or a command came.
 *
 * Each volume has an inotify instance of its own, so one volume's lost events, lag, limits and end are its alone. While a
 * big tree is walked the others are read in between; only when one of those has to walk too, the rest waits for both.
 * A filesystem that hangs when a directory is opened holds up the thread: volumes of such kinds are polled instead.
 *
 * Invariant: after `ended` nothing of a volume is open, and nothing more is told of it.
 */
import {plainError} from '../base/jobs.ts';
import {calm, waitReadable} from '../linux/eventfd.ts';
import {InotifyEvents} from '../linux/inotify.ts';
import {InotifyReader} from './inotify-reader.ts';
import {SHARED_STOPPED, SHARED_TAKEN, type ReaderCommand, type ReaderMessage} from './reader-messages.ts';

const QUEUE_BYTES = 64 * 1024; // some 2,000 events a reading
const GATHER_MS = 1; // after a batch: busy writers cost a thousand messages a second each at most, a lone change none of it
const BREATH_MS = 20; // how long a walk goes on before the others get their turn
const SHARE = 8; // of what all volumes may have on the way together, one may have an eighth

export interface LoopParts {
  /** The next command that came; the waker was woken after it. */
  receive(): ReaderCommand | undefined;
  post(message: ReaderMessage): void;
  /** Messages with events that were taken, of all volumes. */
  taken(): number;
  nowMs(): number;
}

interface Volume {
  number: number;
  reader: InotifyReader;
  shared: Int32Array;
  isBusy: boolean;
}

type WatchCommand = Extract<ReaderCommand, {type: 'watch'}>;

/** Watches volumes as it is told until it is told to stop. Blocks its thread. */
export function watchUntilStopped(wakerFd: number, parts: LoopParts): void {
  new ReadingLoop(wakerFd, parts).run();
}

class ReadingLoop {
  readonly #wakerFd: number;
  readonly #parts: LoopParts;
  readonly #volumes = new Map<number, Volume>();
  readonly #arriving: WatchCommand[] = [];
  /** One for the loop, one for what is read in the middle of a walk. */
  readonly #queues = [newQueue(), newQueue()] as const;
  #isWalking = false;
  #isStopped = false;
  #breathedMs = 0;
  #sent = 0;

  constructor(wakerFd: number, parts: LoopParts) {
    this.#wakerFd = wakerFd;
    this.#parts = parts;
  }

  run(): void {
    try {
      while (!this.#isStopped) {
        const count = this.#round(this.#patienceMs(), this.#queues[0]);
        for (let arrived; (arrived = this.#arriving.shift()) !== undefined;) this.#admit(arrived);
        if (count > 0) waitReadable([this.#wakerFd], GATHER_MS);
      }
    } finally {
      for (const volume of this.#volumes.values()) this.#end(volume);
    }
  }

  #patienceMs(): number {
    let dueMs = Infinity;
    for (const {reader} of this.#volumes.values()) dueMs = Math.min(dueMs, reader.dueMs);
    return dueMs === Infinity ? -1 : Math.max(0, Math.ceil(dueMs - this.#parts.nowMs()));
  }

  /** Waits, takes commands, reads each volume that has something once. @returns how many had */
  #round(timeoutMs: number, queue: InotifyEvents): number {
    const idle = [...this.#volumes.values()].filter(({isBusy}) => !isBusy);
    const ready = new Set(waitReadable([this.#wakerFd, ...idle.map(({reader}) => reader.fd)], timeoutMs));
    if (ready.has(this.#wakerFd)) this.#takeCommands();
    this.#breathedMs = this.#parts.nowMs();
    let count = 0;
    for (const volume of idle) {
      if (!this.#volumes.has(volume.number)) continue; // ended while another's tree was walked
      if (Atomics.load(volume.shared, SHARED_STOPPED) !== 0) {
        this.#end(volume);
      } else if (ready.has(volume.reader.fd) || volume.reader.dueMs <= this.#parts.nowMs()) {
        this.#read(volume, queue);
        count++;
      }
    }
    return count;
  }

  #takeCommands(): void {
    calm(this.#wakerFd);
    for (let command; (command = this.#parts.receive()) !== undefined;) {
      if (command.type === 'stop') this.#isStopped = true;
      else if (command.type === 'watch') this.#arriving.push(command);
      else this.#volumes.get(command.volume)?.reader.drain(command.drain); // of one that has ended nobody waits
    }
  }

  #read(volume: Volume, queue: InotifyEvents): void {
    volume.isBusy = true;
    try {
      volume.reader.read(queue);
    } catch (error) {
      this.#parts.post({type: 'failed', volume: volume.number, error: plainError(error)});
      return this.#end(volume);
    }
    volume.isBusy = false;
    if (volume.reader.isOver) this.#end(volume);
  }

  #admit({volume: number, root, shared: memory}: WatchCommand): void {
    const shared = new Int32Array(memory);
    const isStopped = (): boolean => this.#isStopped || Atomics.load(shared, SHARED_STOPPED) !== 0;
    const post = (message: ReaderMessage): void => this.#parts.post(message);
    let sent = 0;
    const send = (packed: Extract<ReaderMessage, {type: 'events'}>['packed']): void => {
      sent++;
      this.#sent++;
      post({type: 'events', volume: number, packed});
    };
    const untaken = (): number => {
      const ofAll = Math.floor((this.#sent - this.#parts.taken()) / SHARE);
      return Math.max(sent - Atomics.load(shared, SHARED_TAKEN), ofAll);
    };
    let reader: InotifyReader | undefined;
    try {
      if (!isStopped())
        reader = new InotifyReader(root, {
          send,
          untaken,
          isStopped,
          onDrained: (drain) => post({type: 'drained', volume: number, drain}),
          breathe: () => this.#breathe(),
          nowMs: () => this.#parts.nowMs(),
        });
    } catch (error) {
      post({type: 'failed', volume: number, error: plainError(error)});
    }
    if (reader === undefined) return post({type: 'ended', volume: number});
    this.#volumes.set(number, {number, reader, shared, isBusy: false});
    if (isStopped()) return; // the next round ends it
    post({type: 'ready', volume: number, watchedDirs: reader.watchedDirs});
    reader.begin();
  }

  /** In the middle of a walk: the other volumes are read. */
  #breathe(): void {
    if (this.#isWalking || this.#parts.nowMs() - this.#breathedMs < BREATH_MS) return;
    this.#isWalking = true;
    try {
      this.#round(0, this.#queues[1]);
    } finally {
      this.#isWalking = false;
      this.#breathedMs = this.#parts.nowMs();
    }
  }

  #end({number, reader}: Volume): void {
    this.#volumes.delete(number);
    reader.close();
    this.#parts.post({type: 'ended', volume: number});
  }
}

function newQueue(): InotifyEvents {
  return new InotifyEvents(Buffer.allocUnsafeSlow(QUEUE_BYTES));
}
