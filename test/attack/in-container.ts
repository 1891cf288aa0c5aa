/**
 * The inside of a process that `startInContainer` started: goes into its volume, works until it is told to stop, reports.
 *
 * Everything is imported before, since nothing of the host can be seen from in there. Invariant: whatever path this
 * process uses, it cannot leave the volume: what is outside is safe from the attacker itself.
 */
import {writeSync} from 'node:fs';
import {checked, chroot, putText} from '../../src/linux/libc.ts';
import {Random} from '../sync/random-tree.ts';

/** What it is to do. */
export interface Order {
  /** The volume, as a host path. */
  root: string;
  seed: number;
  /** Whether it rests now and then, at the same times as all others that do: what waits for a quiet moment gets one. */
  rests: boolean;
}

const PERIOD_MS = 4_000;
const AT_REST_MS = 1_600;

/** Whether this is a time of rest. */
export function isRestTime({rests}: Order): boolean {
  return rests && Date.now() % PERIOD_MS < AT_REST_MS;
}

/** What it did. */
export interface Report {
  count: number;
}

/**
 * @param make gives the work: `step` does some milliseconds of it and may wait, and is called again and again; `end` leaves
 *   the volume so that one can work with it
 */
export async function runInContainer<O extends Order, R extends Report>(
  make: (order: O, chance: Random) => {step: () => void | Promise<void>; end?: () => void; report: () => R},
): Promise<{order: O; report: R}> {
  const order = JSON.parse(process.argv[2] ?? '') as O;
  checked(chroot(putText(order.root)), 'chroot');
  process.chdir('/');
  process.umask(0);
  const stop = new AbortController();
  process.stdin.on('end', () => stop.abort()).resume();
  const {step, end, report} = make(order, new Random(order.seed));
  writeSync(1, 'at work\n');
  while (!stop.signal.aborted) {
    await step();
    await new Promise((resolve) => setImmediate(resolve));
  }
  end?.();
  const told = report();
  writeSync(1, `${JSON.stringify(told)}\n`);
  return {order, report: told};
}
