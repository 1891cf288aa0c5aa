/**
 * Measures two agents in two network namespaces beside `rsync -aH -e ssh` between the same:
 * `npm run bench -- agents [--runs N] [--quick] [--line raw|"100 Mbit/s"|"40 ms"]`.
 *
 * A first copy: from the moment that running, connected agents are given the volume until both digests are equal.
 * Durable: our default beside `rsync --fsync`; plain: `durability: none` beside rsync as it is. A
 * change of one file among many: from the return of write(2) until its content is on the target; rsync has to be run for
 * it. Warm caches, fresh ext4 for each run, tools take turns in who begins. Needs root and Debian's openssh-server.
 * Invariant: what was measured was right: at the end of each run rsync compares every byte of the agents' copies.
 */
import {randomFillSync} from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {parseArgs} from 'node:util';
import {untilInSync} from '../test/hosts/agents.ts';
import {removeTree} from '../test/run-folders.ts';
import {makeSsh} from './agents/ssh.ts';
import {type Line, LINES, makeStage, type Stage} from './agents/stage.ts';
import {machineLine} from './results/machine.ts';
import {checkCopy, must} from './sync/filesystems.ts';
import {median} from './numbers.ts';

const OUT = join(import.meta.dirname, 'out');
const FILE_BYTES = 4_096;
const FILES_PER_DIR = 100;
const PAUSE_MS = 50; // changes are separate: nobody waits for company
const VISIBLE_MS_MAX = 30_000;
const TOOLS = ['towline', 'rsync'] as const;
type Tool = (typeof TOOLS)[number];

const {values: options} = parseArgs({
  options: {
    runs: {type: 'string', default: '3'},
    quick: {type: 'boolean', default: false},
    line: {type: 'string'},
  },
});
const runs = options.quick ? 1 : Number(options.runs);
const textBytes = (options.quick ? 32 : 256) << 20;
const largeBytes = (options.quick ? 32 : 1_024) << 20;
const SLOW_LINE_SHARE = 16; // of the large files, that a line of 100 Mbit/s is not busy for minutes
const FILESYSTEM_MIB = 6_144;
const fileCount = options.quick ? 2_000 : 20_000;
const changes: Record<Tool, number> = options.quick ? {towline: 5, rsync: 2} : {towline: 30, rsync: 5};
const lines = LINES.filter((line) => (options.line ?? line) === line);
if (!(runs >= 1) || lines.length === 0) throw new Error('see the first lines of bench/agents.ts');

const CASES = {
  'large-durable': 'first copy of one file of random bytes, durable',
  'large-plain': 'first copy of one file of random bytes, plain',
  'text-plain': 'first copy of a log, plain, beside rsync -z',
  'small-durable': `first copy of ${fileCount.toLocaleString('en')} × 4 KiB, durable`,
  'small-plain': `first copy of ${fileCount.toLocaleString('en')} × 4 KiB, plain`,
  change: `one file changed among ${fileCount.toLocaleString('en')}`,
};
type Case = keyof typeof CASES;
type Copy = Exclude<Case, 'change'>;
const COPIES = Object.keys(CASES).filter((name): name is Copy => name !== 'change');
const CHANGED: Copy = 'small-durable';

const base = mkdtempSync(join(realpathSync(tmpdir()), 'towline-bench-'));
process.prependListener('exit', () => removeTree(base));
const ssh = makeSsh(join(base, 'ssh'));
const measured = new Map<string, number[]>();

for (let run = 0; run < runs; run++) {
  for (const line of lines) await measureLine(line, run);
}
report();

async function measureLine(line: Line, run: number): Promise<void> {
  const stage = await makeStage(line, join(base, `${run}-${line}`), ssh, {sizeMiB: FILESYSTEM_MIB});
  const note = (what: Case, tool: Tool, ms: number): void => {
    const key = `${what}/${line}/${tool}`;
    measured.set(key, [...(measured.get(key) ?? []), ms]);
    process.stderr.write(`${CASES[what]}, ${line}, ${tool}: ${ms.toFixed(1)} ms\n`);
  };
  for (const volume of COPIES) {
    fillVolume(join(stage.source, volume), volume, line);
    for (const tool of TOOLS) mkdirSync(join(stage.targets[tool], volume));
    for (const tool of run % 2 === 0 ? TOOLS : TOOLS.toReversed()) {
      must('sync');
      note(volume, tool, await timed(() => copyBy(tool, stage, volume)));
    }
  }
  // rsync first: afterwards nobody changes anything while the agents are measured.
  for (const tool of TOOLS.toReversed()) {
    for (let index = 0; index < changes[tool]; index++) note('change', tool, await change(stage, tool, index));
  }
  for (const volume of COPIES) {
    await untilInSync(stage.agents.source, volume);
    checkCopy(join(stage.source, volume), join(stage.targets.towline, volume));
  }
  await stage.end();
}

function copyBy(tool: Tool, stage: Stage, volume: Copy): Promise<void> {
  const isDurable = volume.endsWith('-durable');
  if (tool === 'towline') return stage.addVolume(volume, isDurable ? {} : {durability: 'none'});
  return stage.copyByRsync(volume, ...(isDurable ? ['--fsync'] : []), ...(volume === 'text-plain' ? ['-z'] : []));
}

function sizeOnLine(sizeBytes: number, line: Line): number {
  return line === 'raw' ? sizeBytes : sizeBytes / SLOW_LINE_SHARE;
}

function fillVolume(folder: string, volume: Copy, line: Line): void {
  if (volume.startsWith('small')) fillSmall(folder);
  else if (volume.startsWith('text')) fillLarge(folder, sizeOnLine(textBytes, line), fillText);
  else fillLarge(folder, sizeOnLine(largeBytes, line), (piece) => randomFillSync(piece));
}

/** Changes one file in place. @returns ms from the return of write(2) until the target has it */
async function change(stage: Stage, tool: Tool, index: number): Promise<number> {
  const path = pathOf((index * 7_919 + (tool === 'rsync' ? 1 : 0)) % fileCount); // far apart, never one twice
  const content = `${tool} ${index} ${'y'.repeat(1_000)}`;
  const fd = openSync(join(stage.source, CHANGED, path), 'r+');
  writeSync(fd, content);
  const writtenMs = performance.now();
  closeSync(fd);
  if (tool === 'rsync') await stage.copyByRsync(CHANGED);
  while (!readFileSync(join(stage.targets[tool], CHANGED, path), 'utf8').startsWith(content)) {
    if (performance.now() - writtenMs > VISIBLE_MS_MAX) throw new Error(`${path} was not seen to change`);
    await sleep(1);
  }
  const ms = performance.now() - writtenMs;
  await sleep(PAUSE_MS);
  return ms;
}

function fillLarge(folder: string, sizeBytes: number, fill: (piece: Buffer) => void): void {
  mkdirSync(folder);
  const piece = Buffer.alloc(Math.min(sizeBytes, 8 << 20));
  const fd = openSync(join(folder, 'file'), 'w');
  for (let done = 0; done < sizeBytes; done += piece.length) {
    fill(piece);
    writeSync(fd, piece);
  }
  closeSync(fd);
}

/** Lines as a web server logs them: much is the same in each. */
function fillText(piece: Buffer): void {
  const numbers = randomFillSync(new Uint32Array(1 << 16));
  for (let at = 0, line = 0; at < piece.length; line++) {
    const number = numbers[line % numbers.length]!;
    const address = `10.${number & 255}.${(number >> 8) & 255}.${(number >> 16) & 255}`;
    const request = `"GET /articles/${number % 9_973}/comments?page=${number % 17} HTTP/1.1" 200 ${number % 65_536}`;
    at += piece.write(
      `${address} - - [22/Nov/2026:06:${line % 60}:${number % 60} +0000] ${request} "-" "Mozilla/5.0"\n`,
      at,
    );
  }
}

function fillSmall(folder: string): void {
  const content = Buffer.alloc(FILE_BYTES);
  for (let index = 0; index < fileCount; index++) {
    const path = join(folder, pathOf(index));
    if (index % FILES_PER_DIR === 0) mkdirSync(dirname(path), {recursive: true});
    writeFileSync(path, randomFillSync(content));
  }
}

function pathOf(index: number): string {
  return `d${Math.floor(index / FILES_PER_DIR)}/file-${index % FILES_PER_DIR}.dat`;
}

async function timed(run: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

function report(): void {
  const rows = lines.flatMap((line) => (Object.keys(CASES) as Case[]).map((what) => rowOf(what, line)));
  console.log(`two agents beside rsync -aH -e ssh, in two network namespaces; median of ${runs} (of a change: of all)`);
  console.table(rows);
  mkdirSync(OUT, {recursive: true});
  const raw = Object.fromEntries(measured);
  writeFileSync(
    join(OUT, 'agents.json'),
    JSON.stringify({time: new Date().toISOString(), machine: machineLine(), runs, rows, raw}, null, 2),
  );
}

function rowOf(what: Case, line: Line) {
  const [towlineMs, rsyncMs] = TOOLS.map((tool) => median(measured.get(`${what}/${line}/${tool}`)!)) as [
    number,
    number,
  ];
  const rate = what.startsWith('large')
    ? {'towline MB/s': round(sizeOnLine(largeBytes, line) / 1_000 / towlineMs)}
    : {};
  return {
    case: CASES[what],
    line,
    'towline ms': round(towlineMs),
    'rsync ms': round(rsyncMs),
    ratio: Math.round((towlineMs / rsyncMs) * 100) / 100,
    ...rate,
  };
}

/** To one decimal place. */
function round(value: number): number {
  return Math.round(value * 10) / 10;
}
