/**
 * Entry of the thread that reads inotify. Wiring only: the loop is in reading-loop.ts, the other side in
 * inotify-thread.ts. Its event loop does not turn while it reads, so commands are taken from the port by hand.
 */
import {parentPort, receiveMessageOnPort, workerData} from 'node:worker_threads';
import type {ReaderCommand, ReaderMessage, ReadingThreadData} from './reader-messages.ts';
import {watchUntilStopped} from './reading-loop.ts';

const {wakerFd, taken: takenMemory} = workerData as ReadingThreadData;
const taken = new Int32Array(takenMemory);
const port = parentPort;
if (port === null) throw new Error('this is the entry of a worker thread');

watchUntilStopped(wakerFd, {
  receive: () => receiveMessageOnPort(port)?.message as ReaderCommand | undefined,
  post: (message: ReaderMessage) =>
    port.postMessage(message, message.type === 'events' ? [message.packed.table.buffer] : []),
  taken: () => Atomics.load(taken, 0),
  nowMs: () => performance.now(),
});
