/**
 * One change at a time in a live tree, and when it is seen on a target.
 *
 * Times begin at the return of write(2). The target is looked at once a millisecond by a timer, so that a figure is up to
 * one and a half milliseconds too large and never too small.
 */
import {closeSync, existsSync, fsyncSync, openSync, readSync, rmSync, writeSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';

const SEEN_MS_MAX = 900_000; // a change that takes long is a figure; one that never comes is an error
const FSYNCS = 30;
const FSYNC_BYTES = 4_096;
const FSYNC_PAUSE_MS = 10;

/** Writes bytes into a file as they are, without changing its size. @returns when write(2) returned, in ms */
export function writeAt(path: string, content: Buffer, offsetBytes = 0): number {
  const fd = openSync(path, 'r+');
  writeSync(fd, content, 0, content.length, offsetBytes);
  const writtenMs = performance.now();
  closeSync(fd);
  return writtenMs;
}

/** @returns ms from the return of write(2) until each of these copies holds the same bytes there */
export async function change(
  source: string,
  copies: string | readonly string[],
  content: Buffer,
  offsetBytes = 0,
): Promise<number> {
  const writtenMs = writeAt(source, content, offsetBytes);
  const missing = new Set([copies].flat());
  await until(source, () => {
    for (const copy of missing) if (holds(copy, content, offsetBytes)) missing.delete(copy);
    return missing.size === 0;
  });
  return performance.now() - writtenMs;
}

/** @throws Error when a quarter of an hour was not enough */
export async function until(what: string, isTrue: () => boolean): Promise<void> {
  const endMs = performance.now() + SEEN_MS_MAX;
  while (!isTrue()) {
    if (performance.now() > endMs) throw new Error(`${what}: not seen on the target in ${SEEN_MS_MAX / 1_000} s`);
    await sleep(1);
  }
}

/** Waits until all of these are there. */
export async function untilThere(paths: readonly string[]): Promise<void> {
  let index = 0;
  await until(paths.at(-1) ?? '', () => {
    while (index < paths.length && existsSync(paths[index]!)) index++;
    return index === paths.length;
  });
}

function holds(path: string, content: Buffer, offsetBytes: number): boolean {
  const found = Buffer.alloc(content.length);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false; // its first copy is not there yet
    throw error;
  }
  try {
    return readSync(fd, found, 0, found.length, offsetBytes) === content.length && found.equals(content);
  } finally {
    closeSync(fd);
  }
}

/** What one file changes to: never twice the same. */
export function contentOf(index: number, sizeBytes: number): Buffer {
  return Buffer.from(`change ${index} of ${process.hrtime.bigint()} `.padEnd(sizeBytes, 'y').slice(0, sizeBytes));
}

/** Overwrites and syncs one page of a file of its own, again and again. @returns the ms of each time */
export async function fsyncTimes(path: string): Promise<number[]> {
  const page = Buffer.alloc(FSYNC_BYTES);
  const fd = openSync(path, 'w');
  const times: number[] = [];
  for (let index = 0; index < FSYNCS; index++) {
    page.writeUInt32LE(index);
    const startMs = performance.now();
    writeSync(fd, page, 0, page.length, 0);
    fsyncSync(fd);
    times.push(performance.now() - startMs);
    await sleep(FSYNC_PAUSE_MS);
  }
  closeSync(fd);
  rmSync(path);
  return times;
}
