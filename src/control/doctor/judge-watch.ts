/**
 * Judges the limits of inotify against what there is to watch: one watch a directory. Pure.
 */
import {finding, type Finding} from './finding.ts';

/** Of /proc/sys/fs/inotify; NaN where it does not tell. */
export interface WatchLimits {
  watchesMax: number;
  queuedEventsMax: number;
  instancesMax: number;
}

export interface WatchedTree {
  dirCount: number;
  /** False: there are more, counting was cut short. */
  isWhole: boolean;
}

const QUEUE_MIN = 16_384; // the kernel's default; a burst of 20,000 new files overflows it and costs a rescan
const HEADROOM = 2; // trees grow, and others on this host watch too

export function judgeWatches(limits: WatchLimits, trees: readonly WatchedTree[]): Finding[] {
  const area = 'watching';
  const needed = trees.reduce((sum, {dirCount}) => sum + dirCount, 0);
  const atLeast = trees.every(({isWhole}) => isWhole) ? '' : 'at least ';
  const findings: Finding[] = [];
  const {watchesMax, queuedEventsMax} = limits;
  if (needed > watchesMax) {
    const what = `the volumes have ${atLeast}${needed} directories, but only ${watchesMax} can be watched: the rest is polled`;
    findings.push(finding(area, 'bad', what, raiseTo(needed)));
  } else if (needed * HEADROOM > watchesMax) {
    const what = `the volumes have ${atLeast}${needed} directories of the ${watchesMax} that can be watched on this host`;
    findings.push(finding(area, 'warn', what, raiseTo(needed)));
  }
  if (queuedEventsMax < QUEUE_MIN) {
    const what = `the kernel queues only ${queuedEventsMax} events: a burst above that costs a look at the whole volume`;
    findings.push(finding(area, 'note', what, `sysctl fs.inotify.max_queued_events=${QUEUE_MIN}`));
  }
  if (findings.length > 0) return findings;
  const limit = Number.isNaN(watchesMax) ? '' : `, ${watchesMax} can be watched`;
  return [finding(area, 'ok', `the volumes have ${atLeast}${needed} directories${limit}`)];
}

/** The next power of two with headroom, at least what most guides say. */
function raiseTo(needed: number): string {
  const wanted = Math.max(524_288, 2 ** Math.ceil(Math.log2(needed * HEADROOM)));
  return `sysctl fs.inotify.max_user_watches=${wanted} (and the same in /etc/sysctl.d/ to keep it)`;
}
