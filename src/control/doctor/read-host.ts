/**
 * Reads what there is to know of this host and this process. Thin: what it means is judged elsewhere.
 */
import {readFileSync} from 'node:fs';
import {release} from 'node:os';
import {chrootFault, clockStatus, openat2Fault} from '../../linux/abilities.ts';
import {openInotify} from '../../linux/inotify.ts';
import {isLinuxError} from '../../linux/linux-error.ts';
import {closeFd} from '../../linux/open-fd.ts';
import type {HostFacts} from './judge-host.ts';
import type {WatchLimits} from './judge-watch.ts';

export function readHost(): HostFacts {
  const limits = readText('/proc/self/limits');
  return {
    release: release(),
    openat2Fault: openat2Fault(),
    chrootFault: chrootFault(),
    inotifyFault: inotifyFault(),
    uid: process.geteuid?.() ?? 0,
    capabilities: BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readText('/proc/self/status'))?.[1] ?? '0'}`),
    isInitialUserNamespace: /^\s*0\s+0\s+4294967295\s*$/.test(readText('/proc/self/uid_map') || '0 0 4294967295'),
    openFilesMax: Number(/^Max open files\s+\d+\s+(\d+)/m.exec(limits)?.[1] ?? Infinity),
    clock: clockStatus(),
  };
}

export function readWatchLimits(): WatchLimits {
  const limit = (name: string): number => Number(readText(`/proc/sys/fs/inotify/${name}`) || NaN);
  return {
    watchesMax: limit('max_user_watches'),
    queuedEventsMax: limit('max_queued_events'),
    instancesMax: limit('max_user_instances'),
  };
}

function inotifyFault(): string | undefined {
  try {
    closeFd(openInotify());
    return undefined;
  } catch (error) {
    if (isLinuxError(error)) return error.code;
    throw error;
  }
}

/** '' where it cannot be read: a container may lack parts of /proc. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
