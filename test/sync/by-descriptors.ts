/**
 * Trees whose paths no system call takes: changed and listed by a program that goes one name at a time
 * (by-descriptors.py). rsync, find and Node cannot.
 */
import {join} from 'node:path';
import {command} from './harness.ts';

export type DeepOperation =
  | ['makeDirs', string]
  /** Text, and how many times over. */
  | ['write', string, string, number?]
  | ['rename' | 'link', string, string]
  | ['symlink', string, string]
  | ['unlink', string]
  /** Mode, and mtime in ns. */
  | ['setMeta', string, number, string];

const PROGRAM = join(import.meta.dirname, 'by-descriptors.py');

/** Paths are relative to the root, of any length. */
export function changeDeep(root: string, ...operations: DeepOperation[]): void {
  command('python3', PROGRAM, root, JSON.stringify(operations));
}

/** Every entry with mode, owner, ns mtime, size, hard links, and the SHA-256 of its content or its link target. */
export function walkDeep(root: string): string {
  return command('python3', PROGRAM, root, '[["walk"]]');
}
