/**
 * The pool of workers of one volume.
 */
import type {ApplyJobs} from '../apply/apply-jobs.ts';
import {JobPool} from '../base/jobs.ts';
import {workerUrl} from '../base/worker-url.ts';
import type {ScanJobs} from '../scan/scan-tree.ts';
import type {ReadJobs} from '../volume/read-files.ts';
import type {TransferJobs} from '../volume/read-transfer.ts';
import type {VolumeWorkerData} from './volume.worker.ts';

export type VolumeJobs = ScanJobs & ReadJobs & TransferJobs & ApplyJobs;

/** @param name for people who look at threads */
export function volumePool(name: string, data: VolumeWorkerData): JobPool<VolumeJobs> {
  return new JobPool<VolumeJobs>({url: workerUrl(new URL('./volume.worker.ts', import.meta.url)), data, name});
}
