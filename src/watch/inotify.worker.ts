/**
 * Entry of the thread that reads inotify. Wiring only: the loop is in inotify-reader.ts, the other side in
 * inotify-watcher.ts.
 */
import {parentPort, workerData} from 'node:worker_threads';
import {plainError} from '../base/jobs.ts';
import {readUntilStopped} from './inotify-reader.ts';
import {SHARED_STOPPED, SHARED_TAKEN, type ReaderData, type ReaderMessage} from './reader-messages.ts';

const {shared: sharedBuffer, ...options} = workerData as ReaderData;
const shared = new Int32Array(sharedBuffer);
let sent = 0;

function post(message: ReaderMessage): void {
  parentPort?.postMessage(message, message.type === 'events' ? [message.packed.table.buffer] : []);
}

try {
  readUntilStopped(options, {
    onReady: (watchedDirs) => post({type: 'ready', watchedDirs}),
    send: (packed) => {
      sent++;
      post({type: 'events', packed});
    },
    untaken: () => sent - Atomics.load(shared, SHARED_TAKEN),
    isStopped: () => Atomics.load(shared, SHARED_STOPPED) !== 0,
    nowMs: () => performance.now(),
  });
} catch (error) {
  post({type: 'failed', error: plainError(error)});
}
