/** Runs jail.worker.ts, with something to do while it is inside. */
import {Worker} from 'node:worker_threads';

/** What the worker told; see there. */
export interface Seen {
  isActive: boolean;
  resting: object;
  inside: object;
  after: object;
  failed: string;
  refusals: object;
}

export async function jailed(
  rootFd: number,
  restingFd: number,
  whileInside: () => Promise<void>,
): Promise<{seen: Seen; end: () => Promise<void>}> {
  const gate = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL('./jail.worker.ts', import.meta.url), {workerData: {rootFd, restingFd, gate}});
  const open = (index: number): void => {
    Atomics.store(gate, index, 1);
    Atomics.notify(gate, index);
  };
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const seen = await new Promise<Seen>((resolve, reject) => {
    worker.once('error', reject);
    worker.on('message', (message: {kind: string} & Seen) => {
      if (message.kind === 'done') resolve(message);
      else
        whileInside()
          .finally(() => open(0))
          .catch(reject);
    });
  });
  return {seen, end: () => (open(1), ended)};
}
