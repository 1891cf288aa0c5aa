/**
 * Random nasty trees and random changes to them, by nasty.py beside this file: one process a tree or a round.
 *
 * Same seed, same tree, whatever the filesystem (but for what does not fit there). Needs root and python3.
 */
import {join} from 'node:path';
import {command} from '../sync/harness.ts';

/** What occurs beyond files, directories, symlinks, hard links, modes, owners and times. */
export type NastyKind = 'holes' | 'specials' | 'devices' | 'xattrs' | 'acls' | 'capabilities';

export const NASTY_KINDS: readonly NastyKind[] = ['holes', 'specials', 'devices', 'xattrs', 'acls', 'capabilities'];

/** Fills an existing folder, and gives it rights and attributes too. */
export function makeNastyTree(root: string, seed: number, kinds: readonly NastyKind[] = NASTY_KINDS): void {
  nasty('make', root, String(seed), kinds.join(',') || '-');
}

/** Changes a tree `count` times. @returns what was done, one line each, for the message of a failing test */
export function changeNastyTree(
  root: string,
  seed: number,
  round: number,
  count: number,
  kinds: readonly NastyKind[] = NASTY_KINDS,
): string[] {
  return nasty('change', root, String(seed), String(round), kinds.join(',') || '-', String(count));
}

function nasty(...args: string[]): string[] {
  const program = join(import.meta.dirname, 'nasty.py');
  return JSON.parse(command('python3', '-I', '-S', '-B', program, ...args)) as string[];
}
