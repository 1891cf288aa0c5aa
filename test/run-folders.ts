/**
 * Names the temporary folders of a test run, and removes what a killed run has left (its mounts too).
 *
 * Not for use in tests: they call `makeTmpDir` and `makeLoopFilesystem`.
 * Invariant: only folders named after this run, or after a run that is over, are touched.
 */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, readFileSync, readdirSync, realpathSync, statSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

const LEFTOVER_AGE_MS_MIN = 3_600_000; // a run in another PID namespace looks dead: give it an hour
const FOLDER_NAME = /^towline-test-(\d+)-/;

/** The process ID of the vitest run that this process belongs to; every folder carries it. */
export function runId(): number {
  return Number(process.env['TOWLINE_TEST_RUN'] ?? process.pid);
}

/** A new empty folder (0700), its path without symbolic links. */
export function makeRunFolder(): string {
  return mkdtempSync(join(realpathSync(tmpdir()), `towline-test-${runId()}-`));
}

/** Removes a tree of any depth, never what is mounted in it; folders without rights are opened up first. */
export function removeTree(path: string): void {
  const remove = (): number | null => spawnSync('rm', ['-rf', '--one-file-system', '--', path]).status;
  if (remove() === 0) return;
  spawnSync('chmod', ['-R', 'u+rwX', '--', path]);
  remove();
}

/** Mount points below a folder, the deepest first. */
export function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, octal: string) => fromOctal(octal)))
    .filter((point) => point.startsWith(`${folder}/`))
    .toReversed();
}

function fromOctal(octal: string): string {
  return String.fromCharCode(Number.parseInt(octal, 8));
}

/** Unmounts and removes every folder of a run: of this one, or of runs whose process is gone for an hour. */
export function removeRunFolders(which: 'this-run' | 'dead-runs'): void {
  const parent = realpathSync(tmpdir());
  for (const name of readdirSync(parent)) {
    const id = Number(FOLDER_NAME.exec(name)?.[1] ?? 0);
    if (id === 0) continue;
    const path = join(parent, name);
    const madeMs = statSync(path, {throwIfNoEntry: false})?.mtimeMs ?? Date.now();
    if (which === 'this-run' ? id !== runId() : !isDeadRun(id, madeMs)) continue;
    for (const point of mountsBelow(path)) spawnSync('umount', ['-l', point]);
    removeTree(path);
  }
}

/** Whether a run is over, and what it made then is an hour old. */
export function isDeadRun(id: number, madeMs: number): boolean {
  try {
    process.kill(id, 0);
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') return false;
  }
  return Date.now() - madeMs > LEFTOVER_AGE_MS_MIN;
}
