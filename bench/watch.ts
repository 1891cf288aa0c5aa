/**
 * Measures both watchers on one tree: `node bench/watch.ts [files]` (100,000 by default, some 91 a directory).
 *
 * Each runs in a process of its own: time until the whole tree is watched, memory that it costs, and how long a change
 * takes from the system call to the event (median and 95th percentile of 50).
 */
import {spawnSync} from 'node:child_process';
import {closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {ChokidarWatcher} from '../src/watch/chokidar-watcher.ts';
import {InotifyWatcher} from '../src/watch/inotify-watcher.ts';
import type {Watcher, WatcherOptions} from '../src/watch/watcher.ts';

const FILES_PER_DIR = 91;
const CHANGES = 50;

const MAKE: Record<string, (options: WatcherOptions) => Watcher> = {
  inotify: (options) => new InotifyWatcher(options),
  chokidar: (options) => new ChokidarWatcher(options, {usePolling: false, entriesMax: Infinity}),
  'chokidar polling': (options) =>
    new ChokidarWatcher(options, {usePolling: true, pollMs: 1_000, entriesMax: Infinity}),
};

interface Figures {
  watchedDirs: number;
  readyMs: number;
  memoryMb: number;
  medianMs: number;
  p95Ms: number;
}

const [first = '100000', back] = process.argv.slice(2);
if (back === undefined) compare(Number(first));
else console.log(JSON.stringify(await measure(first, back)));

function compare(files: number): void {
  const root = mkdtempSync(join(tmpdir(), 'towline-bench-'));
  try {
    fill(root, files);
    const rows = Object.keys(MAKE).map((name) => {
      const child = spawnSync(process.execPath, ['--expose-gc', import.meta.filename, root, name], {encoding: 'utf8'});
      if (child.status !== 0) throw new Error(child.stderr);
      return {watcher: name, ...(JSON.parse(child.stdout) as Figures)};
    });
    console.log(`${files.toLocaleString('en')} files`);
    console.table(rows);
  } finally {
    rmSync(root, {recursive: true});
  }
}

function fill(root: string, files: number): void {
  for (let index = 0; index < files; index++) {
    const dirIndex = Math.floor(index / FILES_PER_DIR);
    const dir = join(root, `d${Math.floor(dirIndex / 100)}`, `d${dirIndex % 100}`);
    if (index % FILES_PER_DIR === 0) mkdirSync(dir, {recursive: true});
    writeFileSync(join(dir, `f${index % FILES_PER_DIR}`), '');
  }
}

async function measure(root: string, name: string): Promise<Figures> {
  const rootFd = openSync(root, 'r');
  let seen = (): void => {};
  const watcher = MAKE[name]!({
    rootFd,
    rootPath: root,
    skipDirs: [],
    onEvents: (events) => {
      if (events.some((event) => event.kind === 'name' && event.name === 'f7')) seen();
    },
  });
  const before = residentMb();
  const start = performance.now();
  const {watchedDirs} = await watcher.start();
  const readyMs = performance.now() - start;
  closeSync(rootFd);
  const memoryMb = residentMb() - before;
  const delays: number[] = [];
  const changes = name.endsWith('polling') ? 3 : CHANGES;
  for (let count = 0; count < changes; count++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const seenOnce = new Promise<void>((resolve) => (seen = resolve));
    const changed = performance.now();
    writeFileSync(join(root, 'd3', 'd7', 'f7'), String(count));
    await seenOnce;
    delays.push(performance.now() - changed);
  }
  await watcher.close();
  delays.sort((a, b) => a - b);
  const at = (share: number): number => round(delays[Math.floor(delays.length * share)]!);
  return {
    watchedDirs,
    readyMs: Math.round(readyMs),
    memoryMb: Math.round(memoryMb),
    medianMs: at(0.5),
    p95Ms: at(0.95),
  };
}

function residentMb(): number {
  gc?.();
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1_000;
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
