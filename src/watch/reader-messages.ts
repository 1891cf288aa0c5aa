/**
 * What the main thread and the reading thread tell each other.
 */
import type {plainError} from '../base/jobs.ts';
import type {PackedEvents} from './event-batch.ts';
import type {ReaderOptions} from './inotify-reader.ts';

/** Given to the thread when it is started. */
export interface ReaderData extends ReaderOptions {
  /** Two 32-bit words, below. */
  shared: SharedArrayBuffer;
}

/** Index of the word that counts messages taken by the main thread. */
export const SHARED_TAKEN = 0;
/** Index of the word that is not 0 when the thread is to end. */
export const SHARED_STOPPED = 1;
export const SHARED_BYTES = 8;

export type ReaderMessage =
  | {type: 'ready'; watchedDirs: number}
  | {type: 'events'; packed: PackedEvents}
  | {type: 'failed'; error: ReturnType<typeof plainError>};
