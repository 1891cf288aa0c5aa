/** The first copy of a file that is nearly all holes: its time, and the most memory of each agent. */
import {mkdirSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {makeHosts} from '../agents/hosts.ts';
import {must} from '../sync/filesystems.ts';
import {type Case, rowsOf} from './case.ts';
import {differingRanges, type Scattered, writeSparse} from './large-files.ts';

const VOLUME = 'tree';
const ROOM_MIB = 2_048;
const MEMORY_MB_MAX = 200;
const ALLOCATED_TIMES_MAX = 2; // whole blocks, and what the filesystem needs to find them
const STAT_BLOCK_BYTES = 512;

export const sparseMemory: Case = async (context) => {
  const rows = rowsOf('sparse-memory', context);
  const sizeGiB = context.isQuick ? 10 : 100;
  const scattered: Scattered = {sizeBytes: sizeGiB * 2 ** 30, ranges: 64, rangeBytes: 64 << 10};
  const {source, targets, addVolume, end} = await makeHosts({base: context.base, room: {sizeMiB: ROOM_MIB}});
  const [from, to] = [join(source.path, VOLUME), join(targets[0].path, VOLUME)];
  mkdirSync(from);
  mkdirSync(to);
  const [file, copy] = [join(from, 'file'), join(to, 'file')];
  writeSparse(file, scattered);
  must('sync');
  const startMs = performance.now();
  await addVolume(VOLUME);
  rows.tell(`first copy of ${sizeGiB} GiB of holes`, (performance.now() - startMs) / 1_000, 's');
  rows.atMost('memory of the source', source.agent.memory().peakBytes / 1e6, 'MB', MEMORY_MB_MAX);
  rows.atMost('memory of the target', targets[0].agent.memory().peakBytes / 1e6, 'MB', MEMORY_MB_MAX);
  const differing = differingRanges(file, copy, scattered);
  if (statSync(copy).size !== scattered.sizeBytes || differing.length > 0)
    throw new Error(`the copy has ${statSync(copy).size} bytes, and differs in ranges ${differing.join(', ')}`);
  const allocated = (path: string): number => statSync(path).blocks * STAT_BLOCK_BYTES;
  rows.atMost('allocated on the target', allocated(copy) / allocated(file), 'times', ALLOCATED_TIMES_MAX);
  await end();
  return rows.all;
};
