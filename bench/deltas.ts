/**
 * Measures what a change of a large file costs live, two agents in two network namespaces beside `rsync -aH -e ssh`:
 * `npm run bench -- deltas [--runs N] [--quick] [--only VARIANT] [--mib 1024] [--column durable|plain]`.
 *
 * A change is made, and timed from its end until `flush` says that it is on the target; then rsync is run for it. Durable:
 * our default beside `rsync --fsync`; plain: `durability: none` beside rsync as it is; in place: beside
 * `rsync --inplace`. What Towline sent is what the kernel counts on the line of the source. Warm caches, fresh
 * filesystems. Needs root, xfsprogs and Debian's openssh-server. Invariant: at the end rsync compares every byte.
 */
import {mkdirSync, mkdtempSync, realpathSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {untilInSync} from '../test/hosts/agents.ts';
import {removeTree} from '../test/run-folders.ts';
import {makeSsh} from './agents/ssh.ts';
import {makeStage, type Stage} from './agents/stage.ts';
import {lineOf, untilQuiet, workOf, workSince} from './live/counters.ts';
import {writePattern} from './live/large-files.ts';
import {median, round} from './numbers.ts';
import {machineLine} from './results/machine.ts';
import {checkCopy, must, type Room} from './sync/filesystems.ts';
import {append, changePages, LARGE_NAME, prepend} from './sync/trees.ts';

const OUT = join(import.meta.dirname, 'out');
const VOLUME = 'tree';
const FLUSH_MS_MAX = 600_000;
const ROOM_MIB = 1_024;

interface Variant {
  type: NonNullable<Room['type']>;
  source: Record<string, unknown>;
  target: Record<string, unknown>;
  rsync: readonly string[];
}

const VARIANTS: Record<string, Variant> = {
  ext4: {type: 'ext4', source: {}, target: {}, rsync: []},
  'ext4, in place': {
    type: 'ext4',
    source: {},
    target: {replace: {'in-place-above': '64MiB'}},
    rsync: ['--inplace'],
  },
  XFS: {type: 'xfs', source: {}, target: {}, rsync: []},
};

const CHANGES: Record<string, (root: string) => void> = {
  '100 scattered pages of 8 KiB': changePages,
  '10 MiB appended': append,
  '1 byte put before': prepend,
};

const {values: options} = parseArgs({
  options: {
    runs: {type: 'string', default: '3'},
    quick: {type: 'boolean', default: false},
    only: {type: 'string'},
    mib: {type: 'string'},
    column: {type: 'string'},
  },
});
const runs = options.quick ? 1 : Number(options.runs);
const sizeMiB = Number(options.mib ?? (options.quick ? 128 : 1_024));
const columns = ['durable', 'plain'].filter((column) => (options.column ?? column) === column);
const variants = Object.keys(VARIANTS).filter((name) => (options.only ?? name) === name);
if (!(runs >= 1) || !(sizeMiB >= 64) || columns.length === 0 || variants.length === 0)
  throw new Error('see the first lines of bench/deltas.ts');

interface Measured {
  seconds: number;
  rsyncSeconds: number;
  sentBytes: number;
  sourceReadBytes: number;
  targetReadBytes: number;
}

const base = mkdtempSync(join(realpathSync(tmpdir()), 'towline-bench-'));
process.prependListener('exit', () => removeTree(base));
const ssh = makeSsh(join(base, 'ssh'));
const measured = new Map<string, Measured[]>();

for (let run = 0; run < runs; run++) {
  for (const name of variants) for (const column of columns) await measure(name, column, run);
}
report();

async function measure(name: string, column: string, run: number): Promise<void> {
  const {type, source, target} = VARIANTS[name]!;
  // Both filesystems leave a reserve free, and hold the old version beside the new one.
  const room = {sizeMiB: Math.ceil(sizeMiB * 2.2) + ROOM_MIB, type};
  const stage = await makeStage('raw', join(base, `${run}-${name}-${column}`), ssh, room);
  const root = join(stage.source, VOLUME);
  mkdirSync(root);
  for (const tool of ['towline', 'rsync'] as const) mkdirSync(join(stage.targets[tool], VOLUME));
  writePattern(join(root, LARGE_NAME), sizeMiB * 2 ** 20);
  must('sync');
  await stage.addVolume(VOLUME, {durability: column === 'plain' ? 'none' : 'batch', settle: '0ms', ...source}, target);
  await stage.copyByRsync(VOLUME);
  for (const [what, change] of Object.entries(CHANGES)) {
    await untilQuiet(stage.agents.source, stage.agents.target);
    const figures = await timeChange(stage, () => change(root), [
      ...VARIANTS[name]!.rsync,
      ...(column === 'durable' ? ['--fsync'] : []),
    ]);
    const key = `${what}/${name}/${column}`;
    measured.set(key, [...(measured.get(key) ?? []), figures]);
    process.stderr.write(`${key}: ${round(figures.seconds)} s, rsync ${round(figures.rsyncSeconds)} s\n`);
  }
  await untilInSync(stage.agents.source, VOLUME);
  checkCopy(root, join(stage.targets.towline, VOLUME));
  await stage.end();
}

async function timeChange(stage: Stage, change: () => void, rsyncOptions: readonly string[]): Promise<Measured> {
  const {source, target} = stage.agents;
  must('sync');
  const {sentBytes} = lineOf(source);
  const before = [workOf(source), workOf(target)] as const;
  change();
  const changedMs = performance.now();
  const {exitCode, links} = await source.flush(VOLUME, FLUSH_MS_MAX);
  if (exitCode !== 0) throw new Error(`flush ended with ${exitCode}: ${JSON.stringify(links)}`);
  const seconds = (performance.now() - changedMs) / 1_000;
  const work = [workSince(source, before[0]), workSince(target, before[1])] as const;
  const sent = lineOf(source).sentBytes - sentBytes;
  must('sync');
  const rsyncMs = performance.now();
  await stage.copyByRsync(VOLUME, ...rsyncOptions);
  return {
    seconds,
    rsyncSeconds: (performance.now() - rsyncMs) / 1_000,
    sentBytes: sent,
    sourceReadBytes: work[0].readBytes,
    targetReadBytes: work[1].readBytes,
  };
}

function report(): void {
  const rows = Object.keys(CHANGES).flatMap((what) =>
    variants.flatMap((name) => columns.map((column) => rowOf(what, name, column))),
  );
  console.log(`a change of a file of ${sizeMiB} MiB, live, beside rsync -aH -e ssh; median of ${runs}`);
  console.table(rows);
  mkdirSync(OUT, {recursive: true});
  const raw = Object.fromEntries(measured);
  const whole = {time: new Date().toISOString(), machine: machineLine(), runs, sizeMiB, rows, raw};
  writeFileSync(join(OUT, 'deltas.json'), JSON.stringify(whole, null, 2));
}

function rowOf(what: string, name: string, column: string) {
  const of = (figure: keyof Measured): number =>
    median(measured.get(`${what}/${name}/${column}`)!.map((each) => each[figure]));
  return {
    case: what,
    on: name,
    column,
    'towline s': round(of('seconds')),
    'rsync s': round(of('rsyncSeconds')),
    ratio: round(of('seconds') / of('rsyncSeconds')),
    'sent MB': round(of('sentBytes') / 1e6),
    'source read MB': round(of('sourceReadBytes') / 1e6),
    'target read MB': round(of('targetReadBytes') / 1e6),
  };
}
