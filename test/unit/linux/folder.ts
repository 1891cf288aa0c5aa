/**
 * A folder of its own for one test, on the disk that holds the temporary files; removed when the test ends.
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {onTestFinished} from 'vitest';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';

export const isRoot = process.getuid?.() === 0;

export interface Folder {
  path: string;
  fd: number;
}

export function makeFolder(parent = tmpdir()): Folder {
  const path = mkdtempSync(join(parent, 'towline-linux-'));
  const fd = openDirPath(path);
  onTestFinished(() => {
    closeFd(fd);
    rmSync(path, {recursive: true, force: true});
  });
  return {path, fd};
}

/** Closes a descriptor when the test ends. */
export function held(fd: number): number {
  onTestFinished(() => closeFd(fd));
  return fd;
}
