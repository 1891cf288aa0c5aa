/**
 * One folder of very many files: one of them changed, beside a busy neighbour too, and a folder that is renamed.
 *
 * A neighbour overwrites the files of a tree of its own on the target's filesystem. How long a page takes to be synced
 * there is measured right before and after the changes, with the neighbour when there is one: the goal holds on a disk that
 * is fast enough.
 */
import {existsSync, mkdirSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {type Hosts, makeHosts, untilEqual} from '../agents/hosts.ts';
import {median, quantile} from '../numbers.ts';
import {checkCopy, must} from '../sync/filesystems.ts';
import {type Case, type Rows, rowsOf} from './case.ts';
import {change, contentOf, fsyncTimes, until, writeAt} from './changes.ts';
import {lineOf, untilQuiet} from './counters.ts';
import {fillNeighbour, startNeighbour} from './pace.ts';

const VOLUME = 'tree';
const FOLDER = 'folder';
const FILE_BYTES = 100;
const PAUSE_MS = 30; // changes are separate: nobody waits for company
const FLUSH_MS_MAX = 60_000;
const NEIGHBOUR_BYTES_PER_SECOND = 300e6;
const NEIGHBOUR_SHARE_MIN = 0.95;
const NEIGHBOUR_LEAD_MS = 3_000;
const [P50_MS_MAX, P99_MS_MAX, FSYNC_MS_MAX] = [15, 60, 1.5];
const RENAMES = 5;
const RENAME_MS_MAX = 100;
const RENAME_BYTES_MAX = 1_024;
/** Blocks, inodes and what Towline keeps of a file; the neighbour's gibibyte; a journal. */
const ROOM_BYTES_PER_FILE = 8_192;
const ROOM_MIB = 2_560;

export const millionInOne: Case = async (context) => {
  const rows = rowsOf('million-in-one', context);
  const fileCount = context.isQuick ? 20_000 : 1_000_000;
  const hosts = await makeTree(context.base, fileCount, {settle: '0ms'});
  context.say(`${fileCount} files are there`);
  const times = {changes: context.isQuick ? 50 : 200, fileCount};
  await measureChanges(hosts, times, 'alone', rows);
  await measureFlushes(hosts, times, rows);
  await besideNeighbour(hosts, times, rows);
  const {source, targets, end} = hosts;
  await untilEqual(source.agent, VOLUME);
  rows.tell('memory of the source', source.agent.memory().peakBytes / 1e6, 'MB');
  rows.tell('memory of the target', targets[0].agent.memory().peakBytes / 1e6, 'MB');
  checkCopy(join(source.path, VOLUME), join(targets[0].path, VOLUME));
  await end();
  return rows.all;
};

export const neighbour: Case = async (context) => {
  const rows = rowsOf('neighbour', context);
  const hosts = await makeTree(context.base, 1_000, {settle: '0ms'});
  const times = {changes: context.isQuick ? 50 : 200, fileCount: 1_000};
  await measureChanges(hosts, times, 'alone', rows);
  await besideNeighbour(hosts, times, rows);
  await untilEqual(hosts.source.agent, VOLUME);
  checkCopy(join(hosts.source.path, VOLUME), join(hosts.targets[0].path, VOLUME));
  await hosts.end();
  return rows.all;
};

export const rename: Case = async (context) => {
  const rows = rowsOf('rename', context);
  const fileCount = context.isQuick ? 2_000 : 10_000;
  const hosts = await makeTree(context.base, fileCount, {});
  const {agent} = hosts.source;
  const [from, to] = [join(hosts.source.path, VOLUME), join(hosts.targets[0].path, VOLUME)];
  const {say} = context;
  const times: number[] = [];
  const sent: number[] = [];
  await untilQuiet(agent, hosts.targets[0].agent); // what both do after a first copy is over
  for (let index = 0; index < RENAMES; index++) {
    const [old, now] = [`${FOLDER}${index === 0 ? '' : index}`, `${FOLDER}${index + 1}`];
    const {sentBytes} = lineOf(agent);
    renameSync(join(from, old), join(from, now));
    const renamedMs = performance.now();
    await until(now, () => existsSync(join(to, now)));
    times.push(performance.now() - renamedMs);
    await untilEqual(agent, VOLUME);
    sent.push(lineOf(agent).sentBytes - sentBytes);
    say(`rename ${index + 1}: ${times.at(-1)!.toFixed(1)} ms, ${sent.at(-1)} B sent`);
  }
  const what = `a folder of ${fileCount} files`;
  rows.atMost(`${what}, median of ${RENAMES}`, median(times), 'ms', RENAME_MS_MAX);
  rows.tell(`${what}, the longest`, Math.max(...times), 'ms');
  rows.atMost(`${what}, sent over the line, median`, median(sent), 'B', RENAME_BYTES_MAX);
  rows.tell(`${what}, sent over the line, the most`, Math.max(...sent), 'B');
  checkCopy(from, to);
  await hosts.end();
  return rows.all;
};

/** A volume that is one folder of small files, in sync. */
async function makeTree(base: string, fileCount: number, settings: Record<string, unknown>): Promise<Hosts> {
  const sizeMiB = ROOM_MIB + Math.ceil((fileCount * ROOM_BYTES_PER_FILE) / 2 ** 20);
  const hosts = await makeHosts({base, room: {sizeMiB, inodes: 2 * fileCount + 10_000}});
  const folder = join(hosts.source.path, VOLUME, FOLDER);
  mkdirSync(folder, {recursive: true});
  mkdirSync(join(hosts.targets[0].path, VOLUME));
  const content = Buffer.alloc(FILE_BYTES, 'x');
  for (let index = 0; index < fileCount; index++) {
    content.writeUInt32LE(index);
    writeFileSync(join(folder, nameOf(index)), content);
  }
  must('sync');
  await hosts.addVolume(VOLUME, settings);
  return hosts;
}

function nameOf(index: number): string {
  return `file-${index}`;
}

interface Times {
  changes: number;
  fileCount: number;
}

async function measureChanges(hosts: Hosts, {changes, fileCount}: Times, where: string, rows: Rows): Promise<void> {
  const page = join(hosts.targets[0].path, 'page');
  const syncs = await fsyncTimes(page);
  const times: number[] = [];
  for (let index = 0; index < changes; index++) {
    const [from, to] = pathsOf(hosts, (index * 7_919) % fileCount);
    times.push(await change(from, to, contentOf(index, FILE_BYTES)));
    await sleep(PAUSE_MS);
  }
  syncs.push(...(await fsyncTimes(page)));
  const fsync = median(syncs);
  const condition = {goal: `where an fsync takes ≤ ${FSYNC_MS_MAX} ms`, isJudged: fsync <= FSYNC_MS_MAX};
  rows.tell(`fsync of a page on the target, ${where}`, fsync, 'ms');
  rows.atMost(`a change among ${fileCount}, ${where}, p50`, quantile(times, 0.5), 'ms', P50_MS_MAX, condition);
  rows.atMost(`a change among ${fileCount}, ${where}, p99`, quantile(times, 0.99), 'ms', P99_MS_MAX, condition);
}

/** Until the agent answers that what was written is durable on the target. */
async function measureFlushes(hosts: Hosts, {changes, fileCount}: Times, rows: Rows): Promise<void> {
  const times: number[] = [];
  for (let index = 0; index < changes; index++) {
    const writtenMs = writeAt(pathsOf(hosts, (index * 7_919 + 1) % fileCount)[0], contentOf(index, FILE_BYTES));
    const {exitCode, links} = await hosts.source.agent.flush(VOLUME, FLUSH_MS_MAX);
    if (exitCode !== 0) throw new Error(`flush ended with ${exitCode}: ${JSON.stringify(links)}`);
    times.push(performance.now() - writtenMs);
    await sleep(PAUSE_MS);
  }
  rows.tell(`until flush says it is durable, p50`, quantile(times, 0.5), 'ms');
  rows.tell(`until flush says it is durable, p99`, quantile(times, 0.99), 'ms');
}

async function besideNeighbour(hosts: Hosts, times: Times, rows: Rows): Promise<void> {
  const root = join(hosts.targets[0].path, 'neighbour');
  fillNeighbour(root);
  must('sync'); // its blocks are given out: from now on it only overwrites them
  const busy = startNeighbour(root, NEIGHBOUR_BYTES_PER_SECOND);
  const startMs = performance.now();
  await sleep(NEIGHBOUR_LEAD_MS);
  await measureChanges(hosts, times, 'beside a neighbour', rows);
  const rate = busy.writtenBytes() / ((performance.now() - startMs) / 1_000);
  await busy.end();
  rows.atLeast('the neighbour wrote', rate / 1e6, 'MB/s', (NEIGHBOUR_BYTES_PER_SECOND / 1e6) * NEIGHBOUR_SHARE_MIN);
}

/** Of one file: at the source, at the target. */
function pathsOf({source, targets}: Hosts, index: number): [string, string] {
  const path = join(VOLUME, FOLDER, nameOf(index));
  return [join(source.path, path), join(targets[0].path, path)];
}
