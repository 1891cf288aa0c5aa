/**
 * The most memory that a tool's processes hold at each end: the sum of VmHWM over those that run at one time.
 *
 * A process belongs to the end whose network namespace it is in, and to the tool when this process started it or one
 * that started it: what others run on the machine does not count. ssh, sshd and shells do not count either. Pages that
 * processes share count once for each.
 */
import {readFileSync, readdirSync, readlinkSync, statSync} from 'node:fs';
import type {Host} from '../../test/hosts/namespaces.ts';

const SAMPLE_MS = 100;
const NOT_THE_TOOL = new Set(['ssh', 'sshd', 'sh', 'dash', 'bash', 'env', 'nsenter', 'ip', 'mv', 'rm']);
const ENDS = ['source', 'target'] as const;

export type Peaks = Record<(typeof ENDS)[number], number>;

/** @param hosts the two ends @returns ends the watch and gives the peaks, in bytes */
export function watchMemory(hosts: Record<(typeof ENDS)[number], Host>): () => Peaks {
  const namespaces = new Map(ENDS.map((end) => [`net:[${statSync(`/run/netns/${hosts[end].namespace}`).ino}]`, end]));
  const peaks: Peaks = {source: 0, target: 0};
  const sample = (): void => {
    const sums: Peaks = {source: 0, target: 0};
    for (const pid of descendantsOf(process.pid)) {
      const end = namespaces.get(orNothing(() => readlinkSync(`/proc/${pid}/ns/net`)));
      if (end !== undefined) sums[end] += highWaterBytes(pid);
    }
    for (const end of ENDS) peaks[end] = Math.max(peaks[end], sums[end]);
  };
  const timer = setInterval(sample, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    sample();
    return peaks;
  };
}

/** Source: proc_pid_task(5), which lists the children that each thread has started. */
function descendantsOf(pid: number): number[] {
  const tasks = orNothing(() => readdirSync(`/proc/${pid}/task`).join(' ')).split(' ');
  const children = tasks
    .flatMap((task) => orNothing(() => readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1')).split(' '))
    .filter((child) => child !== '')
    .map(Number);
  return [...children, ...children.flatMap(descendantsOf)];
}

function highWaterBytes(pid: number): number {
  const status = orNothing(() => readFileSync(`/proc/${pid}/status`, 'latin1'));
  if (NOT_THE_TOOL.has(/^Name:\t(.*)$/m.exec(status)?.[1] ?? '')) return 0;
  return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1_024;
}

/** A process may end while it is looked at. */
function orNothing(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
