/**
 * The workers of volumes: two threads of one volume's own, or a few that all volumes of an agent share.
 */
import type {ApplyJobs} from '../apply/apply-jobs.ts';
import {JobPool, WorkerPool} from '../base/worker-pool.ts';
import {workerUrl} from '../base/worker-url.ts';
import type {ScanJobs} from '../scan/scan-tree.ts';
import type {ReadJobs} from '../volume/read-files.ts';
import type {TransferJobs} from '../volume/transfer-jobs.ts';
import type {VolumeScope} from './volume.worker.ts';

export type VolumeJobs = ScanJobs & ReadJobs & TransferJobs & ApplyJobs;

const WORKER = workerUrl(new URL('./volume.worker.ts', import.meta.url));

/** @param name for people who look at threads */
export function volumePool(name: string, data: VolumeScope): JobPool<VolumeJobs> {
  return new JobPool<VolumeJobs>({url: WORKER, data, name});
}

/**
 * Threads for many volumes, each of which takes a `scope({root, places})` of them.
 * @param options threads at most (`limits.workers`), 2 or more
 */
export function sharedVolumePool({workers}: {workers: number}): WorkerPool<VolumeJobs, VolumeScope> {
  return new WorkerPool({url: WORKER, name: 'towline volumes', workers});
}
