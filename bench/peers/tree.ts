/** The trees that are copied and changed: 100 files in a directory, ten of those in one that is renamed as a whole. */
import {randomFillSync} from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import {writeSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {Unable} from './tool.ts';

const FILE_BYTES = 4_096;
const FILES_PER_DIR = 100;
const DIRS_PER_DIR = 10;
/** How many files the directory that is renamed has; at least one other of that size must be there for the changes. */
export const RENAMED_FILES = FILES_PER_DIR * DIRS_PER_DIR;
const STRIDE = 7_919; // far apart, never one twice
const CHANGE_POLL_MS = 1;
const RENAME_POLL_MS = 5;
const VISIBLE_MS_MAX = 60_000;

export function fillLarge(folder: string, sizeBytes: number): void {
  mkdirSync(folder);
  const piece = Buffer.alloc(8 << 20);
  const fd = openSync(join(folder, 'file'), 'w');
  for (let done = 0; done < sizeBytes; done += piece.length) writeSync(fd, randomFillSync(piece));
  closeSync(fd);
}

/** Many files below a root; all tools of a run find it as the one before has left it. */
export class SmallTree {
  readonly #root: string;
  readonly #fileCount: number;
  #changes = 0;
  #renames = 0;

  /** @param fileCount a multiple of RENAMED_FILES, at least two of them */
  constructor(root: string, fileCount: number) {
    this.#root = root;
    this.#fileCount = fileCount;
    const content = Buffer.alloc(FILE_BYTES);
    for (let index = 0; index < fileCount; index++) {
      const path = join(root, this.#pathOf(index));
      if (index % FILES_PER_DIR === 0) mkdirSync(dirname(path), {recursive: true});
      writeFileSync(path, randomFillSync(content));
    }
  }

  /** Writes into one file in place. @param react what a person does then @returns ms from write(2) until a copy has it */
  async change(copy: string, react: () => Promise<void>): Promise<number> {
    const number = this.#changes++;
    const path = this.#pathOf(RENAMED_FILES + ((number * STRIDE) % (this.#fileCount - RENAMED_FILES)));
    const content = `change ${number} ${'y'.repeat(1_000)}`;
    const fd = openSync(join(this.#root, path), 'r+');
    writeSync(fd, content);
    const sinceMs = performance.now();
    closeSync(fd);
    await react();
    const isThere = (): boolean => textOf(join(copy, path)).startsWith(content);
    return until('a change', sinceMs, CHANGE_POLL_MS, isThere);
  }

  /** Renames the directory. @returns ms until a copy has all of its files under the new name and none under the old */
  async rename(copy: string, react: () => Promise<void>): Promise<number> {
    const old = this.#renamedName;
    this.#renames++;
    const name = this.#renamedName;
    renameSync(join(this.#root, old), join(this.#root, name));
    const sinceMs = performance.now();
    await react();
    const isThere = (): boolean =>
      existsSync(join(copy, name)) && !existsSync(join(copy, old)) && countFiles(join(copy, name)) === RENAMED_FILES;
    return until('the renamed directory', sinceMs, RENAME_POLL_MS, isThere);
  }

  get #renamedName(): string {
    return this.#renames === 0 ? 'g0' : `renamed-${this.#renames}`;
  }

  #pathOf(index: number): string {
    const dir = Math.floor(index / FILES_PER_DIR);
    const file = `d${dir % DIRS_PER_DIR}/file-${index % FILES_PER_DIR}.dat`;
    return join(`g${Math.floor(dir / DIRS_PER_DIR)}`, file);
  }
}

async function until(what: string, sinceMs: number, pollMs: number, isTrue: () => boolean): Promise<number> {
  while (!isTrue()) {
    if (performance.now() - sinceMs > VISIBLE_MS_MAX)
      throw new Unable(`${what} was not on the target after ${VISIBLE_MS_MAX / 1_000} s`);
    await sleep(pollMs);
  }
  return performance.now() - sinceMs;
}

/** '' while a tool that replaces a file in two steps has none there. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Those with their final names: what is still on its way is called otherwise by every tool. */
function countFiles(folder: string): number {
  try {
    const names = readdirSync(folder, {recursive: true}) as string[];
    return names.filter((name) => /(^|\/)file-\d+\.dat$/.test(name)).length;
  } catch {
    return 0; // it changed meanwhile
  }
}
