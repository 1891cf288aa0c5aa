/**
 * Measures what grows with the number of files, two agents in two network namespaces beside `rsync -e ssh`:
 * `npm run bench -- scale [--files 1000,10000,100000,1000000] [--idle 60] [--changes 200]`.
 *
 * Of each tree: the first copy with `durability: none`, beside rsync; from then on durable: one change in it, from the
 * return of write(2) until it is on the target; a directory of a hundredth of its files renamed; the catch-up after both
 * agents were restarted, beside `rsync -aHAX` that finds nothing to do; the most memory of each agent, all threads; and
 * the processor time of both while nothing happens. Files of 100 bytes, 100 in a directory, warm caches, fresh ext4. Needs
 * root and Debian's openssh-server.
 * Invariant: what was measured was right: at the end rsync compares every byte of the copy.
 */
import {closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, realpathSync, renameSync} from 'node:fs';
import {writeFileSync, writeSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {parseArgs} from 'node:util';
import {removeTree} from '../test/run-folders.ts';
import {untilEqual} from './agents/hosts.ts';
import {makeSsh} from './agents/ssh.ts';
import {makeStage, peaksOf, seconds, startBoth, type Stage} from './agents/stage.ts';
import {machineLine} from './results/machine.ts';
import {checkCopy, must} from './sync/filesystems.ts';
import {median, quantile, round} from './numbers.ts';

const OUT = join(import.meta.dirname, 'out');
const FILE_BYTES = 100;
const FILES_PER_DIR = 100;
const DIRS_PER_DIR = 100;
const PAUSE_MS = 30; // changes are separate: nobody waits for company
const VISIBLE_MS_MAX = 30_000;
const SETTLED_MS = 100_000; // what was just written is read once more after a minute
const TICKS_PER_S = 100; // of /proc/PID/stat
/** Blocks, inodes and what Towline keeps of a file. */
const ROOM_BYTES_PER_FILE = 8_192;
const ROOM_MIB_MIN = 512;
const VOLUME = 'tree';

const {values: options} = parseArgs({
  options: {
    files: {type: 'string', default: '1000,10000,100000'},
    idle: {type: 'string', default: '60'},
    changes: {type: 'string', default: '200'},
  },
});
const sizes = options.files.split(',').map(Number);
const idleSeconds = Number(options.idle);
const changeCount = Number(options.changes);
if (!sizes.every((count) => count >= 1_000) || !(idleSeconds >= 1) || !(changeCount >= 10))
  throw new Error('see the first lines of bench/scale.ts');

const base = mkdtempSync(join(realpathSync(tmpdir()), 'towline-bench-'));
process.prependListener('exit', () => removeTree(base));
const ssh = makeSsh(join(base, 'ssh'));
let written = 0;
const rows = [];
for (const count of sizes) rows.push(await measure(count));
console.log('two agents beside rsync over ssh, in two network namespaces; times in seconds, of changes in ms');
console.table(rows);
mkdirSync(OUT, {recursive: true});
const whole = {time: new Date().toISOString(), machine: machineLine(), rows};
writeFileSync(join(OUT, 'scale.json'), JSON.stringify(whole, null, 2));

async function measure(count: number) {
  const room = {sizeMiB: ROOM_MIB_MIN + Math.ceil((count * ROOM_BYTES_PER_FILE) / 2 ** 20), inodes: 2 * count + 10_000};
  const stage = await makeStage('raw', join(base, String(count)), ssh, room);
  const {source, target} = stage.agents;
  const note = <T>(what: string, value: T): T => {
    process.stderr.write(`${count.toLocaleString('en')} files, ${what}: ${String(value)}\n`);
    return value;
  };
  fill(join(stage.source, VOLUME), count);
  for (const tool of ['towline', 'rsync'] as const) mkdirSync(join(stage.targets[tool], VOLUME));
  must('sync');
  const firstCopy = note('first copy', await seconds(() => stage.addVolume(VOLUME, {durability: 'none'})));
  must('sync');
  const rsyncCopy = note('its rsync', await seconds(() => stage.copyByRsync(VOLUME, '-AX')));
  await stage.addVolume(VOLUME); // from here on durable
  const changes = await changeMany(stage, count);
  note('change', shown(changes));
  await stage.addVolume(VOLUME, {settle: '0ms'});
  const atOnce = await changeMany(stage, count);
  note('change, settle 0', shown(atOnce));
  const renamed = note('rename', await renameOne(stage));
  await untilEqual(source, VOLUME);
  const before = peaksOf(stage);
  await Promise.all([source.stop(), target.stop()]);
  must('sync');
  const catchUp = note('catch-up', await seconds(() => startBoth(stage, VOLUME)));
  await stage.copyByRsync(VOLUME, '-AX');
  const noOp = note('its rsync -aHAX', await seconds(() => stage.copyByRsync(VOLUME, '-AX')));
  await sleep(SETTLED_MS);
  const usedBefore = cpuSeconds(source.pid) + cpuSeconds(target.pid);
  await sleep(idleSeconds * 1_000);
  const idle = note('idle', round(cpuSeconds(source.pid) + cpuSeconds(target.pid) - usedBefore));
  const peaks = peaksOf(stage).map((peak, index) => Math.max(peak, before[index]!));
  note('memory', `${before.join(', ')} before the restart, ${peaks.join(', ')} in all`);
  await untilEqual(source, VOLUME);
  checkCopy(join(stage.source, VOLUME), join(stage.targets.towline, VOLUME));
  await stage.end();
  return {
    files: count,
    'first copy s': round(firstCopy),
    'rsync s': round(rsyncCopy),
    '× rsync': round(firstCopy / rsyncCopy),
    'change p50 ms': round(median(changes)),
    'p99 ms': round(quantile(changes, 0.99)),
    'settle 0: p50': round(median(atOnce)),
    p99: round(quantile(atOnce, 0.99)),
    'rename ms': round(renamed),
    'catch-up s': round(catchUp),
    'rsync -aHAX s': round(noOp),
    '× rsync -aHAX': round(catchUp / noOp),
    'source MB': peaks[0],
    'target MB': peaks[1],
    [`CPU s in ${idleSeconds} s`]: idle,
  };
}

async function changeMany(stage: Stage, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < changeCount; index++) times.push(await changeOne(stage, (index * 7_919) % count));
  await untilEqual(stage.agents.source, VOLUME);
  return times;
}

function shown(times: readonly number[]): string {
  return `${round(median(times))} ms, 99 of 100 ${round(quantile(times, 0.99))} ms`;
}

/** Writes into one file in place. @returns ms from the return of write(2) until the target has it */
async function changeOne(stage: Stage, file: number): Promise<number> {
  const path = join(VOLUME, pathOf(file));
  const content = `change ${++written} `.padEnd(FILE_BYTES, 'y');
  const fd = openSync(join(stage.source, path), 'r+');
  writeSync(fd, content);
  const writtenMs = performance.now();
  closeSync(fd);
  const arrived = join(stage.targets.towline, path);
  const ms = await until(path, writtenMs, () => readFileSync(arrived, 'utf8') === content);
  await sleep(PAUSE_MS);
  return ms;
}

/** Renames the first directory. @returns ms until it has its new name on the target */
async function renameOne(stage: Stage): Promise<number> {
  const [from, to] = ['d0', 'renamed'].map((name) => join(VOLUME, name)) as [string, string];
  renameSync(join(stage.source, from), join(stage.source, to));
  return until(to, performance.now(), () => existsSync(join(stage.targets.towline, to)));
}

async function until(what: string, sinceMs: number, isTrue: () => boolean): Promise<number> {
  while (!isTrue()) {
    if (performance.now() - sinceMs > VISIBLE_MS_MAX) throw new Error(`${what}: no change was seen on the target`);
    await sleep(1);
  }
  return performance.now() - sinceMs;
}

function fill(folder: string, count: number): void {
  const content = Buffer.alloc(FILE_BYTES, 'x');
  for (let index = 0; index < count; index++) {
    const path = join(folder, pathOf(index));
    if (index % FILES_PER_DIR === 0) mkdirSync(dirname(path), {recursive: true});
    content.writeUInt32LE(index);
    writeFileSync(path, content);
  }
}

function pathOf(index: number): string {
  const dir = Math.floor(index / FILES_PER_DIR);
  return `d${Math.floor(dir / DIRS_PER_DIR)}/e${dir % DIRS_PER_DIR}/file-${index % FILES_PER_DIR}`;
}

/** Of the whole process so far. Source: proc_pid_stat(5), fields 14 and 15. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}
