/**
 * What tests of a live `towline sync` share: waiting until both trees are equal, what was applied meanwhile, a reader
 * in a process of its own, what a process has used.
 *
 * Invariant: nothing here waits for a time; everything waits for something to be seen.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, lstatSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll} from 'vitest';
import {command, compareByRsync, type JsonEvent, type Pair, type Running} from './harness.ts';

const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');

export interface AppliedEvent {
  op: string;
  path: string;
  to: string | null;
  sizeBytes: number;
  latencyMs: number | null;
}

/** What was applied since `mark` (`live.events.length` of then); metadata alone is left out. */
export function appliedSince(live: Running, mark: number): AppliedEvent[] {
  const applied = live.events
    .slice(mark)
    .filter(({event, op, path}) => event === 'applied' && op !== 'set-meta' && path !== MARK);
  return applied as unknown as AppliedEvent[];
}

/** Files whose content was sent since `mark`. */
export function transfersSince(live: Running, mark: number): string[] {
  return appliedSince(live, mark)
    .filter(({op}) => op === 'put-file' || op === 'replace')
    .map(({path}) => path);
}

function isMark({event, path}: JsonEvent): boolean {
  return event === 'applied' && path === MARK;
}

/** Bytes of content that have been sent so far, literal; those of `untilEqual` are left out. */
export function contentBytes(live: Running): number {
  const copied = live.events.filter(({event, phase}) => event === 'progress' && phase === 'copy');
  const ofMarks = live.events.filter(isMark).reduce((sum, {sizeBytes}) => sum + Number(sizeBytes), 0);
  return Number(copied.at(-1)?.['bytesDone'] ?? 0) - ofMarks;
}

const MARK = '.last-change'; // a file in the source that is written after everything else
let marks = 0;

/**
 * Waits until everything that was changed before this call has been followed, the program says that it is in sync, and
 * rsync says so too. For that it writes a file of its own, and waits for it.
 */
export async function untilEqual(live: Running, pair: Pair, timeoutMs = 20_000): Promise<void> {
  const from = live.events.length;
  const path = join(pair.source, MARK);
  // A test that changes what it finds may have made another thing of it.
  if (lstatSync(path, {throwIfNoEntry: false})?.isFile() !== true) rmSync(path, {force: true, recursive: true});
  writeFileSync(path, String(++marks));
  const {mtimeMs} = statSync(path);
  await live.waitForEventAfter(from, isMark, timeoutMs);
  const isProof = ({event, state, asOf}: JsonEvent): boolean =>
    event === 'status' && state === 'in-sync' && Date.parse(String(asOf)) >= mtimeMs;
  await live.waitForEventAfter(from, isProof, timeoutMs);
  await live
    .waitFor(() => equalByRsync(pair), timeoutMs)
    .catch((error: unknown) => {
      throw new Error(`${String(error)}\nrsync: ${compareByRsync(pair.source, pair.target).slice(0, 2_000)}`);
    });
}

/** Whether rsync finds nothing to do; false also while the tree changes under it. */
export function equalByRsync({source, target}: Pair): boolean {
  try {
    return compareByRsync(source, target) === '';
  } catch {
    return false;
  }
}

/** Towline's own folder of the target, as long as it is in the state folder; undefined before it was made. */
export function targetFolder({state}: Pair, name: 'staging' | 'trash'): string | undefined {
  const names = existsSync(state) ? readdirSync(state) : [];
  const found = names.map((pairName) => join(state, pairName, 'target', name)).filter((path) => existsSync(path));
  return found[0];
}

/** Bytes of the largest file that is being staged. */
export function stagedBytes(pair: Pair): number {
  const staging = targetFolder(pair, 'staging');
  if (staging === undefined) return 0;
  const sizeOf = (name: string): number => statSync(join(staging, name), {throwIfNoEntry: false})?.size ?? 0;
  return Math.max(0, ...readdirSync(staging).map(sizeOf));
}

/** Every path below a root with all that a change of it would change. */
export function listing(root: string): string {
  return command('find', root, '-printf', '%P %y %i %m %U %G %s %T@ %C@ %l\n').split('\n').toSorted().join('\n');
}

/** CPU time that a process has used, all threads, in ms. Source: proc_pid_stat(5), fields 14 and 15. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // fields[0] is field 3
  return (Number(fields[11]) + Number(fields[12])) * 10; // USER_HZ is 100
}

export interface ReaderReport {
  looks: number;
  /** Versions seen after each other, by path. */
  versions: Record<string, number>;
  faults: string[];
}

const readers = new Set<ChildProcess>();
afterAll(() => {
  for (const reader of readers) reader.kill('SIGKILL');
});

/** Starts to look at paths without a pause (reader.ts). @returns once each was looked at */
export async function startReader(...paths: string[]): Promise<{stop(): Promise<ReaderReport>}> {
  const child = spawn(NODE, [join(import.meta.dirname, 'reader.ts'), ...paths], {stdio: ['pipe', 'pipe', 'inherit']});
  readers.add(child);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  await once(child.stdout, 'data');
  return {
    stop: async () => {
      child.stdin.end();
      await once(child, 'close');
      readers.delete(child);
      return JSON.parse(output.split('\n')[1] ?? '') as ReaderReport;
    },
  };
}
