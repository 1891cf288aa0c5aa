/**
 * Measures how long one changed file takes in a live tree: `npm run bench -- latency [files, default 100000]`.
 *
 * From the return of write(2) to the file on the target (looked at by this process every millisecond), and to the event
 * that says the change is durable there; with `--settle 10ms`. Then strace counts which directories are listed for a
 * change. State, source and target lie in one temporary folder.
 */
import {type ChildProcess, spawn, spawnSync} from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {createInterface} from 'node:readline';
import {setTimeout as sleep} from 'node:timers/promises';

const LAUNCHER = join(import.meta.dirname, '../bin/towline.js');
const OUT = join(import.meta.dirname, 'out');
const FILES_PER_DIR = 100;
const FILE_BYTES = 1024;
const CHANGES = 200;
const TRACED_CHANGES = 20;
const PAUSE_MS = 30; // changes are separate: nobody waits for company
const MEDIAN_MS_MAX = 30;
const DEADLINE_MS = 300_000;

interface LiveEvent {
  event: string;
  path?: string;
  state?: string;
  latencyMs?: number;
}

/** Times since write(2) returned; `saidMs` is what the event itself tells. */
interface Change {
  visibleMs: number;
  durableMs: number;
  saidMs: number;
}

const files = Number(process.argv[2] ?? 100_000);
const folder = mkdtempSync(join(realpathSync(tmpdir()), 'towline-bench-'));
const [source, target] = [join(folder, 'source'), join(folder, 'target')];
const waiting = new Set<(event: LiveEvent) => void>();

process.on('exit', () => rmSync(folder, {recursive: true, force: true}));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

fill();
const child = start();
process.prependListener('exit', () => child.kill('SIGKILL'));
await next((event) => event.event === 'status' && event.state === 'in-sync');
const changes: Change[] = [];
for (let index = 0; index < CHANGES; index++) {
  changes.push(await change(index));
  await sleep(PAUSE_MS);
}
const listed = await listedDirectories(child.pid!);
report();
child.kill('SIGTERM');
await new Promise((resolve) => child.once('exit', resolve));

function fill(): void {
  const content = Buffer.alloc(FILE_BYTES, 'x');
  for (let index = 0; index < files; index++) {
    const path = join(source, pathOf(index));
    if (index % FILES_PER_DIR === 0) mkdirSync(dirname(path), {recursive: true});
    writeFileSync(path, content);
  }
}

function pathOf(index: number): string {
  return `d${Math.floor(index / FILES_PER_DIR)}/file-${index % FILES_PER_DIR}.txt`;
}

function start(): ChildProcess {
  const args = ['sync', source, target, '--settle', '10ms', '--json', '--state', join(folder, 'state')];
  const live = spawn(process.execPath, [LAUNCHER, ...args], {stdio: ['ignore', 'pipe', 'inherit']});
  createInterface({input: live.stdout}).on('line', (line) => {
    const event = JSON.parse(line) as LiveEvent;
    for (const listener of waiting) listener(event);
  });
  live.once('exit', (code) => {
    if (code !== 0) throw new Error(`towline ended with ${code}`);
  });
  return live;
}

function next(isIt: (event: LiveEvent) => boolean): Promise<{event: LiveEvent; atMs: number}> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`nothing came within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
    const listener = (event: LiveEvent): void => {
      if (!isIt(event)) return;
      clearTimeout(timer);
      waiting.delete(listener);
      resolve({event, atMs: performance.now()});
    };
    waiting.add(listener);
  });
}

/** Changes one file in place; the steps of the pseudo-random walk are far apart and never repeat a file. */
async function change(index: number): Promise<Change> {
  const path = pathOf((index * 7919 + 13) % files);
  const content = `change ${index}, ${'y'.repeat(FILE_BYTES)}`;
  const applied = next((event) => event.event === 'applied' && event.path === path);
  const fd = openSync(join(source, path), 'r+');
  writeSync(fd, content);
  const writtenMs = performance.now();
  closeSync(fd);
  const visible = untilEqual(join(target, path), content);
  const [{event, atMs}, visibleAtMs] = await Promise.all([applied, visible]);
  return {visibleMs: visibleAtMs - writtenMs, durableMs: atMs - writtenMs, saidMs: event.latencyMs ?? NaN};
}

async function untilEqual(path: string, content: string): Promise<number> {
  while (readFileSync(path, 'utf8') !== content) await sleep(1);
  return performance.now();
}

/** For each of some changes the directories that the program lists, by strace; undefined where strace is missing. */
async function listedDirectories(pid: number): Promise<{calls: number; others: string[]} | undefined> {
  if (spawnSync('strace', ['-V']).status !== 0) return undefined;
  const trace = join(folder, 'trace');
  const strace = spawn('strace', ['-f', '-y', '-e', 'trace=getdents64,fsync', '-o', trace, '-p', String(pid)]);
  await new Promise((resolve) => strace.stderr.once('data', resolve)); // "attached": all threads are traced
  const changed: string[] = [];
  for (let index = CHANGES; index < CHANGES + TRACED_CHANGES; index++) {
    await change(index);
    changed.push(dirname(pathOf((index * 7919 + 13) % files)));
  }
  strace.kill('SIGINT');
  await new Promise((resolve) => strace.once('exit', resolve));
  const lines = readFileSync(trace, 'utf8').split('\n');
  if (!lines.some((line) => line.includes('fsync('))) throw new Error('strace saw not even the fsync of a change');
  const calls = lines.filter((line) => line.includes('getdents64('));
  return {calls: calls.length, others: calls.filter((line) => !changed.some((dir) => line.includes(`/${dir}>`)))};
}

function report(): void {
  const figures = (times: number[]) => {
    const sorted = times.toSorted((a, b) => a - b);
    const at = (share: number): number => Math.round(sorted[Math.floor(sorted.length * share)]! * 10) / 10;
    return {'median ms': at(0.5), 'p99 ms': at(0.99), 'max ms': Math.round(sorted.at(-1)! * 10) / 10};
  };
  const rows = {
    'visible on the target': figures(changes.map(({visibleMs}) => visibleMs)),
    'durable, event received': figures(changes.map(({durableMs}) => durableMs)),
    'latency that the event tells': figures(changes.map(({saidMs}) => saidMs)),
  };
  console.log(
    `${CHANGES} changes of one file of ${FILE_BYTES} B each among ${files.toLocaleString('en')} files, --settle 10ms`,
  );
  console.table(rows);
  const median = rows['durable, event received']['median ms'];
  console.log(`goal, a median of at most ${MEDIAN_MS_MAX} ms: ${median <= MEDIAN_MS_MAX ? 'reached' : 'missed'}`);
  if (listed === undefined) console.log('directories listed: not counted, strace is missing');
  else
    console.log(
      `directories listed for ${TRACED_CHANGES} changes: ${listed.calls} calls, ${listed.others.length} of other directories`,
    );
  for (const line of listed?.others.slice(0, 10) ?? []) console.log(`  ${line}`);
  mkdirSync(OUT, {recursive: true});
  writeFileSync(
    join(OUT, 'latency.json'),
    JSON.stringify({time: new Date().toISOString(), files, rows, listed, changes}, null, 2),
  );
}
