/**
 * Measures what the two walls around a volume cost: the first copy of many files by `towline sync --once`, as it is and
 * with the plain back end of the tests in their place: `npm run bench -- walls [--runs N] [--files N] [--quick]`.
 *
 * Both are bundled from the sources in the same way. Warm caches, fresh ext4 filesystems, the disk flushed before every
 * start, both take turns in who begins. Invariant: what was measured was right: rsync compares every byte of each copy.
 */
import {mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {parseArgs} from 'node:util';
import {rolldown} from 'rolldown';
import {plainModules} from '../test/plain/modules.ts';
import {checkCopy, makeFilesystem, must} from './sync/filesystems.ts';
import {timed} from './sync/tools.ts';
import {fillSmall, SMALL_FILES} from './sync/trees.ts';
import {median, round} from './numbers.ts';

const PROJECT = join(import.meta.dirname, '..');
const OUT = join(import.meta.dirname, 'out');
const BUNDLES = join(PROJECT, `dist.new.walls-${process.pid}`); // below the project, where packages are found
const ENTRIES = {
  main: 'main.ts',
  'volume.worker': 'daemon/volume.worker.ts',
  'target-end.worker': 'daemon/target-end.worker.ts',
  'inotify.worker': 'watch/inotify.worker.ts',
  'chokidar.child': 'watch/chokidar.child.ts',
};
const RUNS = 3;
const QUICK_FILES = 5_000;
const RATIO_MAX = 1.15;
const FILESYSTEM_MIB = 4096;
const BACK_ENDS = ['walls', 'plain'] as const;
const COLUMNS = {durable: [], 'not durable': ['--durability', 'none']};

type BackEnd = (typeof BACK_ENDS)[number];
type Column = keyof typeof COLUMNS;

const {values: options} = parseArgs({
  options: {
    runs: {type: 'string', default: String(RUNS)},
    files: {type: 'string', default: String(SMALL_FILES)},
    quick: {type: 'boolean', default: false},
  },
});
const runs = options.quick ? 1 : Number(options.runs);
const files = options.quick ? QUICK_FILES : Number(options.files);
if (!(runs >= 1) || !(files >= 1)) throw new Error('see the first lines of bench/walls.ts');

process.on('exit', () => rmSync(BUNDLES, {recursive: true, force: true}));
const mains: Record<BackEnd, string> = {
  walls: await bundle('walls', []),
  plain: await bundle('plain', plainModules('paths', 'jail')),
};
const seconds = new Map<string, number[]>();
for (let run = 0; run < runs; run++) {
  for (const column of Object.keys(COLUMNS) as Column[]) await runBoth(column, run);
}
report();

/** @param replacements modules that others take the place of @returns where the program is */
async function bundle(name: BackEnd, replacements: [real: string, instead: string][]): Promise<string> {
  const insteadOf = new Map(replacements);
  const bundled = await rolldown({
    input: Object.fromEntries(Object.entries(ENTRIES).map(([entry, file]) => [entry, join(PROJECT, 'src', file)])),
    platform: 'node',
    external: (id) => !id.startsWith('.') && !id.startsWith('/'),
    plugins: [
      {
        name: 'back-end',
        resolveId: (source, importer) => {
          if (importer === undefined || !source.startsWith('.')) return null;
          const instead = insteadOf.get(join(dirname(importer), source));
          return instead === undefined || dirname(importer) === dirname(instead) ? null : instead;
        },
      },
    ],
  });
  const dir = join(BUNDLES, name);
  await bundled.write({dir, format: 'esm', entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js'});
  await bundled.close();
  return join(dir, 'main.js');
}

async function runBoth(column: Column, run: number): Promise<void> {
  const filesystems = {
    source: makeFilesystem({sizeMiB: FILESYSTEM_MIB}),
    walls: makeFilesystem({sizeMiB: FILESYSTEM_MIB}),
    plain: makeFilesystem({sizeMiB: FILESYSTEM_MIB}),
  };
  const source = join(filesystems.source.path, 'data');
  mkdirSync(source);
  fillSmall(source, files);
  for (const backEnd of run % 2 === 0 ? BACK_ENDS : BACK_ENDS.toReversed()) {
    const target = filesystems[backEnd].path;
    const copy = join(target, 'copy');
    mkdirSync(copy);
    must('sync');
    const args = ['sync', source, copy, '--once', '--state', join(target, 'state'), ...COLUMNS[column]];
    const measured = await timed(process.execPath, [mains[backEnd], ...args]);
    const key = `${column}/${backEnd}`;
    seconds.set(key, [...(seconds.get(key) ?? []), measured.seconds]);
    process.stderr.write(`${column}, ${backEnd}: ${measured.seconds.toFixed(2)} s\n`);
    checkCopy(source, copy);
  }
  for (const filesystem of Object.values(filesystems)) filesystem.remove();
}

function report(): void {
  const rows = (Object.keys(COLUMNS) as Column[]).map((column) => {
    const [walls, plain] = BACK_ENDS.map((backEnd) => median(seconds.get(`${column}/${backEnd}`) ?? []));
    return {column, 'walls s': round(walls!), 'plain s': round(plain!), ratio: round(walls! / plain!)};
  });
  console.log(`first copy of ${files.toLocaleString('en')} files of 4 KiB, median of ${runs}, warm cache, fresh ext4`);
  console.table(rows);
  const missed = rows.filter(({ratio}) => ratio > RATIO_MAX);
  console.log(
    `${missed.length} of ${rows.length} rows miss the goal (the walls cost at most 15 %: ratio ≤ ${RATIO_MAX})`,
  );
  mkdirSync(OUT, {recursive: true});
  writeFileSync(
    join(OUT, 'walls.json'),
    JSON.stringify({time: new Date().toISOString(), runs, files, rows, raw: Object.fromEntries(seconds)}, null, 2),
  );
}
