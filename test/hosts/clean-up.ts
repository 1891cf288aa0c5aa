/**
 * What must go when a test file or a measurement ends: processes and networks, the last made first.
 *
 * Not for folders: test/tmp.ts removes those. Every step is synchronous, so that it also runs at the exit of a process.
 * Invariant: a process is ended by the id that it was started with, and only if it was started here.
 */
import type {ChildProcess} from 'node:child_process';
import {readFileSync} from 'node:fs';

const DYING_MS_MAX = 2_000; // a killed process lets go of its files and sockets only when the kernel has taken it down
const POLL_MS = 5;

const steps = new Set<() => void>();
process.once('exit', cleanUp);

/** Adds a step. @returns takes it off again, when it was done earlier */
export function atEnd(step: () => void): () => void {
  steps.add(step);
  return () => steps.delete(step);
}

/** Does all steps, the last first; each is tried, whatever the others did. */
export function cleanUp(): void {
  const faults: unknown[] = [];
  for (const step of [...steps].toReversed()) {
    steps.delete(step);
    try {
      step();
    } catch (error) {
      faults.push(error);
    }
  }
  if (faults.length > 0) throw new AggregateError(faults, faults.map(String).join('\n'));
}

/** Has a child killed at the end unless it has ended by then. @returns the same child */
export function killAtEnd<T extends ChildProcess>(child: T): T {
  const {pid} = child;
  if (pid === undefined) return child; // it was never started: `error` tells
  const takeOff = atEnd(() => {
    child.kill('SIGKILL');
    const endMs = performance.now() + DYING_MS_MAX;
    while (isRunning(pid) && performance.now() < endMs) pause(POLL_MS);
  });
  child.once('exit', takeOff);
  return child;
}

/** Whether a process runs; one that is dead and not yet waited for does not. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
