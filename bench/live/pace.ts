/**
 * A steady pace of writes, made in a thread of its own and told in shared memory.
 *
 * A writer that was late makes up for it at once, so that the count after any time is what the pace asks for; how late
 * it was is told. Invariant: a sample's time is in place before the count of samples includes it.
 */
import {closeSync, mkdirSync, openSync, writeFileSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {Worker} from 'node:worker_threads';
import {smallPath} from '../sync/trees.ts';

const COUNTER_DIGITS = 12;
const NEIGHBOUR_FILES = 1_000;
const PIECE_BYTES = 1 << 20;
/** In shared memory: words that both sides read. */
const [STOP, DONE, SAMPLES, LATE_MS] = [0, 1, 2, 3];
const WORDS = 4;

interface Steady {
  perSecond: number;
  /** Infinity: until it is stopped. */
  countMax: number;
  words: Int32Array<SharedArrayBuffer>;
}

export interface ChangesPace extends Steady {
  kind: 'changes';
  root: string;
  fileCount: number;
  /** The number of the first change: greater than all that the files hold. */
  first: number;
  /** Of so many changes one is a sample. */
  sampleEvery: number;
  /** When write(2) returned of each sample, in ms of `monotonicMs`. */
  writtenMs: Float64Array<SharedArrayBuffer>;
}

export interface NeighbourPace extends Steady {
  kind: 'neighbour';
  root: string;
}

export type Pace = ChangesPace | NeighbourPace;

/** Equal in all threads. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Runs in the worker, to the end of the pace. */
export function pace({perSecond, countMax, words}: Steady, step: (index: number) => void): void {
  const startMs = monotonicMs();
  for (let index = 0; index < countMax; index++) {
    const dueMs = startMs + (index / perSecond) * 1_000;
    let earlyMs = dueMs - monotonicMs();
    while (earlyMs > 0) {
      if (Atomics.wait(words, STOP, 0, earlyMs) === 'not-equal') return;
      earlyMs = dueMs - monotonicMs();
    }
    if (Atomics.load(words, STOP) !== 0) return;
    if (-earlyMs > words[LATE_MS]!) Atomics.store(words, LATE_MS, Math.floor(-earlyMs));
    step(index);
    Atomics.store(words, DONE, index + 1);
  }
}

/** Each file's turn comes once in so many changes as there are files, and neighbours in time are far apart. */
export function changedPath(index: number, fileCount: number): string {
  return smallPath((index * 7_919) % fileCount);
}

/** The number of the change that a file holds, as its first bytes say. */
export function changeIn(content: Buffer): number {
  return Number(content.toString('latin1', 0, COUNTER_DIGITS));
}

export function writeChange({root, fileCount, first, sampleEvery, words, writtenMs}: ChangesPace, index: number): void {
  const fd = openSync(join(root, changedPath(index, fileCount)), 'r+');
  writeSync(fd, `${String(first + index).padStart(COUNTER_DIGITS, '0')} ${monotonicMs().toFixed(3)}\n`);
  const nowMs = monotonicMs();
  closeSync(fd);
  if (index % sampleEvery !== 0) return;
  writtenMs[index / sampleEvery] = nowMs;
  Atomics.store(words, SAMPLES, index / sampleEvery + 1);
}

const piece = Buffer.alloc(PIECE_BYTES);

export function writeNeighbour({root}: NeighbourPace, index: number): void {
  piece.writeUInt32LE(index);
  const fd = openSync(neighbourPath(root, index), 'r+');
  writeSync(fd, piece);
  closeSync(fd);
}

function neighbourPath(root: string, index: number): string {
  return join(root, `file-${index % NEIGHBOUR_FILES}`);
}

export interface Running {
  /** How many changes, samples of them, and the latest that one was, so far. */
  counts(): {done: number; samples: number; lateMs: number};
  /** @throws Error when the thread failed */
  end(): Promise<void>;
}

/** Starts small changes. @returns the running thread, and the times of the samples */
export function startChanges(
  pacing: Pick<ChangesPace, 'root' | 'fileCount' | 'first' | 'sampleEvery' | 'perSecond' | 'countMax'>,
): Running & {writtenMs: Float64Array} {
  const samplesMax = Math.ceil(pacing.countMax / pacing.sampleEvery);
  const writtenMs = new Float64Array(new SharedArrayBuffer(samplesMax * Float64Array.BYTES_PER_ELEMENT));
  return {...start({kind: 'changes', ...pacing, words: sharedWords(), writtenMs}), writtenMs};
}

/** Makes the tree of a neighbour. @param root to be made */
export function fillNeighbour(root: string): void {
  mkdirSync(root);
  for (let index = 0; index < NEIGHBOUR_FILES; index++) writeFileSync(neighbourPath(root, index), piece);
}

/** Starts a neighbour that overwrites the files of its tree, one after the other. */
export function startNeighbour(root: string, bytesPerSecond: number): Running & {writtenBytes(): number} {
  const perSecond = bytesPerSecond / PIECE_BYTES;
  const running = start({kind: 'neighbour', root, perSecond, countMax: Infinity, words: sharedWords()});
  return {...running, writtenBytes: () => running.counts().done * PIECE_BYTES};
}

function sharedWords(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT));
}

function start(workerData: Pace): Running {
  const {words} = workerData;
  const worker = new Worker(new URL('paced.worker.ts', import.meta.url), {workerData});
  const ended = new Promise<void>((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });
  const count = (word: number): number => Atomics.load(words, word);
  return {
    counts: () => ({done: count(DONE), samples: count(SAMPLES), lateMs: count(LATE_MS)}),
    end: async () => {
      Atomics.store(words, STOP, 1);
      Atomics.notify(words, STOP);
      await ended;
    },
  };
}
