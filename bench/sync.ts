/**
 * Measures `towline sync --once` beside `rsync -aH --numeric-ids --delete` on fresh ext4 filesystems:
 * `npm run bench -- sync [--runs N] [--quick] [--only large|small] [--column durable|plain] [--cpu-prof]`.
 *
 * Durable: our default beside `rsync --fsync`; plain: `--durability none` beside rsync as it is. The caches are warm (the
 * source was just written), the disk is flushed before every start, and the programs take turns in who begins.
 * Invariant: what was measured was right: at the end of each run rsync compares every byte of our copies.
 */
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {machineLine} from './results/machine.ts';
import {checkCopy, type FreshFilesystem, makeFilesystem, must} from './sync/filesystems.ts';
import {type Column, copyOf, type Measured, runTool, TOOLS, type ToolName, topOfProfiles} from './sync/tools.ts';
import {append, changePages, fillLarge, fillSmall, prepend} from './sync/trees.ts';
import {median, round} from './numbers.ts';

const OUT = join(import.meta.dirname, 'out');
const RUNS = 3;
const RATIO_MAX = 1.5;
const MEMORY_MB_MAX = 300;
const FILESYSTEM_MIB = 4096;
const PROFILE_LINES = 6;

interface Step {
  title: string;
  change(source: string): void;
  /** rsync's delta transfer is off between local folders: where it would send less, it is measured too. */
  hasDelta: boolean;
}

/** Steps of one chain follow each other on the same filesystems. */
const CHAINS: Record<string, Step[]> = {
  large: [
    {title: 'first copy of 1 GiB', change: fillLarge, hasDelta: false},
    {title: '100 scattered 8 KiB pages in 1 GiB', change: changePages, hasDelta: true},
    {title: '10 MiB appended to 1 GiB', change: append, hasDelta: true},
    {title: '1 byte prepended to 1 GiB', change: prepend, hasDelta: true},
  ],
  small: [
    {title: 'first copy of 100,000 × 4 KiB', change: fillSmall, hasDelta: false},
    {title: 'no change in 100,000 files, second run', change: () => {}, hasDelta: false},
    {title: 'no change in 100,000 files, third run', change: () => {}, hasDelta: false},
  ],
};

const {values: options} = parseArgs({
  options: {
    runs: {type: 'string', default: String(RUNS)},
    quick: {type: 'boolean', default: false},
    only: {type: 'string'},
    column: {type: 'string'},
    'cpu-prof': {type: 'boolean', default: false},
  },
});
const runs = options.quick ? 1 : Number(options.runs);
const columns = (['durable', 'plain'] as const).filter((column) => (options.column ?? column) === column);
const chains = Object.keys(CHAINS).filter((chain) => (options.only ?? chain) === chain);
if (!(runs >= 1) || columns.length === 0 || chains.length === 0)
  throw new Error('see the first lines of bench/sync.ts');

const measurements = new Map<string, Measured[]>();
const keyOf = (step: Step, column: Column, tool: ToolName): string => `${step.title}/${column}/${tool}`;

for (let run = 0; run < runs; run++) {
  for (const chain of chains) for (const column of columns) await runChain(CHAINS[chain]!, column, run);
}
report();

async function runChain(steps: Step[], column: Column, run: number): Promise<void> {
  const tools = TOOLS.filter((tool) => tool !== 'rsync delta' || steps.some((step) => step.hasDelta));
  const filesystems = new Map<ToolName | 'source', FreshFilesystem>();
  for (const name of ['source', ...tools] as const) filesystems.set(name, makeFilesystem({sizeMiB: FILESYSTEM_MIB}));
  const source = join(filesystems.get('source')!.path, 'data');
  mkdirSync(source);
  for (const tool of tools) mkdirSync(copyOf(filesystems.get(tool)!.path));
  const order = run % 2 === 0 ? tools : tools.toReversed();
  for (const step of steps) {
    step.change(source);
    for (const tool of order) {
      must('sync');
      await measure(step, column, tool, {source, target: filesystems.get(tool)!.path});
    }
  }
  checkCopy(source, copyOf(filesystems.get('towline')!.path));
  for (const filesystem of filesystems.values()) filesystem.remove();
}

async function measure(step: Step, column: Column, tool: ToolName, places: {source: string; target: string}) {
  const profile =
    options['cpu-prof'] && tool === 'towline' ? `${step.title} ${column}`.replace(/\W+/g, '-') : undefined;
  const measured = await runTool(tool, column, places, profile);
  const key = keyOf(step, column, tool);
  measurements.set(key, [...(measurements.get(key) ?? []), measured]);
  process.stderr.write(`${step.title}, ${column}, ${tool}: ${measured.seconds.toFixed(2)} s\n`);
  if (profile !== undefined) console.log([profile, ...topOfProfiles(profile, PROFILE_LINES)].join('\n'));
}

function report(): void {
  const rows = chains.flatMap((chain) =>
    CHAINS[chain]!.flatMap((step) => columns.map((column) => rowOf(step, column))),
  );
  console.log(
    `towline sync --once (TLS, digests of all content) beside rsync -aH --numeric-ids --delete; median of ${runs}, ` +
      `warm cache, fresh ext4 over loop devices, state folder on the target's filesystem`,
  );
  console.table(rows);
  const missed = rows.filter((row) => row.ratio > RATIO_MAX || row['towline MB'] > MEMORY_MB_MAX);
  console.log(`${missed.length} of ${rows.length} rows miss the goal (ratio ≤ ${RATIO_MAX}, ≤ ${MEMORY_MB_MAX} MB)`);
  mkdirSync(OUT, {recursive: true});
  const raw = Object.fromEntries(measurements);
  writeFileSync(
    join(OUT, 'sync.json'),
    JSON.stringify({time: new Date().toISOString(), machine: machineLine(), runs, rows, raw}, null, 2),
  );
}

function rowOf(step: Step, column: Column) {
  const of = (tool: ToolName): Measured[] => measurements.get(keyOf(step, column, tool)) ?? [];
  const seconds = (tool: ToolName): number => median(of(tool).map((measured) => measured.seconds));
  const memoryBytes = Math.max(...of('towline').map((measured) => measured.memoryBytes ?? 0));
  return {
    case: step.title,
    column,
    'towline s': round(seconds('towline')),
    'rsync s': round(seconds('rsync')),
    ratio: round(seconds('towline') / seconds('rsync')),
    'towline MB': Math.round(memoryBytes / 1e6),
    'towline sent': of('towline')[0]!.sentBytes,
    'rsync sent': of('rsync')[0]!.sentBytes,
    ...(step.hasDelta
      ? {'rsync --no-whole-file s': round(seconds('rsync delta')), 'its sent': of('rsync delta')[0]!.sentBytes}
      : {}),
  };
}
