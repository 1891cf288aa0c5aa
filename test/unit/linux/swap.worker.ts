/** Swaps the entries `a` and `b` of a directory for each other, as fast as it can, until it is told to stop. */
import {workerData} from 'node:worker_threads';
import {renameAt} from '../../../src/linux/files.ts';

const {dirFd, stop} = workerData as {dirFd: number; stop: Int32Array};
while (Atomics.load(stop, 0) === 0) renameAt(dirFd, 'a', dirFd, 'b', 'exchange');
