/**
 * What the main thread and the reading thread tell each other.
 */
import type {plainError} from '../base/jobs.ts';
import type {RelPath} from '../model/path.ts';
import type {PackedEvents} from './event-batch.ts';

/** Given to the thread when it is started. */
export interface ReadingThreadData {
  /** Woken after each command. */
  wakerFd: number;
  /** One 32-bit word: messages with events that the main thread took, of all volumes. */
  taken: SharedArrayBuffer;
}

/** What is watched of a volume. */
export interface WatchedRoot {
  /** Open until the answer `ready` or `ended`. */
  rootFd: number;
  rootPath: string;
  skipDirs: readonly RelPath[];
}

/** Index of the word that counts a volume's messages taken by the main thread. */
export const SHARED_TAKEN = 0;
/** Index of the word that is not 0 when the volume is to be let go; the thread is woken after it was set. */
export const SHARED_STOPPED = 1;
export const SHARED_BYTES = 8;

export type ReaderCommand =
  | {type: 'watch'; volume: number; root: WatchedRoot; shared: SharedArrayBuffer}
  | {type: 'drain'; volume: number; drain: number}
  | {type: 'stop'};

/** `ended` is the last message of a volume; it comes after `failed`, and after the event `root-gone`. */
export type ReaderMessage = {volume: number} & (
  | {type: 'ready'; watchedDirs: number}
  | {type: 'events'; packed: PackedEvents}
  | {type: 'drained'; drain: number}
  | {type: 'failed'; error: ReturnType<typeof plainError>}
  | {type: 'ended'}
);
