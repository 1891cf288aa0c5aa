/**
 * Files that some process has mapped to write into them: a store into memory changes them, and no watcher is told.
 *
 * Looks into /proc/PID/maps now and then, for all volumes at once; what it cannot see (processes of other users, where
 * this one is not root; those of another PID namespace) only the next scan finds. A hint, like an event: an inode number
 * may be that of another filesystem. Invariant: looking takes a thousandth of one core at most.
 */
import {closeSync, openSync, readdirSync, readSync} from 'node:fs';
import {setImmediate as turn} from 'node:timers/promises';
import type {Clock} from '../base/clock.ts';

/** How often to look: a store is to be found well within the time after which the file is hashed once more. */
export const MAPPED_MS = 20_000;

const SPACING = 1_000; // where many processes make looking long, it is done less often
const TURN_MS = 4; // so long nothing else is done
const INODES_MAX = 10_000; // more are not told: each costs a look
const WRITABLE_SHARED = /^\S+ .w.s \S+ \S+ (\d+)/gmu;
const PID = /^\d+$/u;

export class MappedFiles {
  readonly #everyMs: number;
  readonly #clock: Clock;
  readonly #listeners = new Set<(inodes: ReadonlySet<number>) => void>();
  #looking: AbortController | undefined;

  constructor({everyMs = MAPPED_MS}: {everyMs?: number | undefined}, {clock}: {clock: Clock}) {
    this.#everyMs = everyMs;
    this.#clock = clock;
  }

  /** @param onMapped told of the inode numbers after every look; there is none while nobody listens. @returns ends it */
  listen(onMapped: (inodes: ReadonlySet<number>) => void): () => void {
    this.#listeners.add(onMapped);
    if (this.#looking === undefined) {
      this.#looking = new AbortController();
      void this.#run(this.#looking.signal);
    }
    return () => {
      this.#listeners.delete(onMapped);
      if (this.#listeners.size > 0) return;
      this.#looking?.abort();
      this.#looking = undefined;
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    let delayMs = this.#everyMs;
    for (;;) {
      await this.#clock.sleep(delayMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      const {inodes, usedMs} = await mappedInodes(this.#clock, signal);
      if (signal.aborted) return;
      for (const listener of this.#listeners) listener(inodes);
      delayMs = Math.max(this.#everyMs, (usedMs * SPACING * this.#everyMs) / MAPPED_MS);
    }
  }
}

/** Inode numbers of all files that are mapped shared and writable. @returns with the CPU time that finding them took */
async function mappedInodes(clock: Clock, signal: AbortSignal): Promise<{inodes: Set<number>; usedMs: number}> {
  const inodes = new Set<number>();
  let usedMs = 0;
  for (const pids = processes(); pids.length > 0 && inodes.size < INODES_MAX && !signal.aborted; await turn()) {
    const startMs = clock.monotonicMs();
    const used = process.threadCpuUsage();
    while (pids.length > 0 && clock.monotonicMs() - startMs < TURN_MS) addMapped(pids.pop() as string, inodes);
    const {user, system} = process.threadCpuUsage(used);
    usedMs += (user + system) / 1_000;
  }
  return {inodes, usedMs};
}

function processes(): string[] {
  try {
    return readdirSync('/proc').filter((name) => PID.test(name));
  } catch {
    return []; // no /proc: nothing can be known
  }
}

/** Inode numbers of what is mapped shared and writable. @param maps lines of /proc/PID/maps (proc_pid_maps(5)) */
export function* mappedIn(maps: string): Generator<number> {
  for (const [, ino] of maps.matchAll(WRITABLE_SHARED)) yield Number(ino);
}

const piece = Buffer.allocUnsafeSlow(64 * 1024);

/** The kernel gives whole lines, some 4 KiB at a time. */
function addMapped(pid: string, inodes: Set<number>): void {
  let fd = -1;
  try {
    fd = openSync(`/proc/${pid}/maps`, 'r');
    for (let size; (size = readSync(fd, piece, 0, piece.length, null)) > 0;) {
      for (const ino of mappedIn(piece.toString('latin1', 0, size))) inodes.add(ino);
    }
  } catch {
    // It has ended, or is not ours to look at.
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
