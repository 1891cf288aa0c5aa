/**
 * Temporary folders for tests, on the machine's own temporary filesystem.
 *
 * Invariant: a folder is gone when its test (or its test file) is over, also when it failed.
 */
import {afterAll, onTestFinished} from 'vitest';
import {makeRunFolder, removeTree} from './run-folders.ts';

const foldersOfFile: string[] = [];
afterAll(() => foldersOfFile.splice(0).forEach(removeTree));

/**
 * @param until `'test'`: removed when the running test ends (call it in a test or in `beforeEach`);
 *   `'file'`: removed after the last test of the file (also for `beforeAll` and the top level)
 * @returns the absolute path of a new empty folder (0700), free of symbolic links
 */
export function makeTmpDir(until: 'test' | 'file' = 'test'): string {
  const path = makeRunFolder();
  if (until === 'file') foldersOfFile.push(path);
  else onTestFinished(() => removeTree(path));
  return path;
}
