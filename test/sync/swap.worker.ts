/** Swaps two entries of a directory for each other, as fast as it can, until it is told to stop; counts in `shared[1]`. */
import {workerData} from 'node:worker_threads';
import {renameAt} from '../../src/linux/files.ts';
import {isLinuxError} from '../../src/linux/linux-error.ts';

const {dirFd, names, shared} = workerData as {dirFd: number; names: [string, string]; shared: Int32Array};
while (Atomics.load(shared, 0) === 0) {
  try {
    renameAt(dirFd, names[0], dirFd, names[1], 'exchange');
    Atomics.add(shared, 1, 1);
  } catch (error) {
    if (!isLinuxError(error)) throw error; // one of them is being replaced
  }
  Atomics.wait(shared, 0, 0, 0.02);
}
