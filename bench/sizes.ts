/**
 * Measures what grows with the size of a file, two agents in two network namespaces beside `rsync -e ssh`:
 * `npm run bench -- sizes [--mib 10,1024,10240]`.
 *
 * Of one file of each size: the first copy with `durability: none`, beside rsync; a page of 8 KiB written into it live, from
 * the end of write(2) until `flush` says that it is on the target, beside a run of rsync for it; the catch-up after both
 * agents were restarted, beside `rsync -aHAX` that finds nothing to do; the most memory of each agent, all threads. Warm
 * caches, fresh ext4. Needs root and Debian's openssh-server. Invariant: at the end both files are compared byte by byte.
 */
import {mkdirSync, mkdtempSync, realpathSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {untilInSync} from '../test/hosts/agents.ts';
import {removeTree} from '../test/run-folders.ts';
import {makeSsh} from './agents/ssh.ts';
import {makeStage, peaksOf, seconds, startBoth} from './agents/stage.ts';
import {contentOf, writeAt} from './live/changes.ts';
import {untilQuiet} from './live/counters.ts';
import {writePattern} from './live/large-files.ts';
import {median, round} from './numbers.ts';
import {machineLine} from './results/machine.ts';
import {must} from './sync/filesystems.ts';

const OUT = join(import.meta.dirname, 'out');
const VOLUME = 'tree';
const PAGE_BYTES = 8_192;
const PAGES = 3;
const ROOM_MIB = 1_024;
const FLUSH_MS_MAX = 600_000;

const {values: options} = parseArgs({options: {mib: {type: 'string', default: '10,1024,10240'}}});
const sizes = options.mib.split(',').map(Number);
if (!sizes.every((mib) => mib >= 8)) throw new Error('see the first lines of bench/sizes.ts');

const base = mkdtempSync(join(realpathSync(tmpdir()), 'towline-bench-'));
process.prependListener('exit', () => removeTree(base));
const ssh = makeSsh(join(base, 'ssh'));
const rows = [];
for (const mib of sizes) rows.push(await measure(mib));
console.log('two agents beside rsync over ssh, in two network namespaces; one file');
console.table(rows);
mkdirSync(OUT, {recursive: true});
const whole = {time: new Date().toISOString(), machine: machineLine(), rows};
writeFileSync(join(OUT, 'sizes.json'), JSON.stringify(whole, null, 2));

async function measure(mib: number) {
  // A changed file is made beside the old one, and a reserve stays free.
  const stage = await makeStage('raw', join(base, String(mib)), ssh, {sizeMiB: Math.ceil(mib * 2.2) + ROOM_MIB});
  const {source, target} = stage.agents;
  const note = (what: string, value: number): number => {
    process.stderr.write(`${mib} MiB, ${what}: ${round(value)}\n`);
    return value;
  };
  mkdirSync(join(stage.source, VOLUME));
  for (const tool of ['towline', 'rsync'] as const) mkdirSync(join(stage.targets[tool], VOLUME));
  const file = join(VOLUME, 'file');
  writePattern(join(stage.source, file), mib * 2 ** 20);
  must('sync');
  const firstCopy = note('first copy', await seconds(() => stage.addVolume(VOLUME, {durability: 'none'})));
  must('sync');
  const rsyncCopy = note('its rsync', await seconds(() => stage.copyByRsync(VOLUME)));
  await stage.addVolume(VOLUME, {settle: '0ms'}); // from here on durable
  const [pages, rsyncPages]: [number[], number[]] = [[], []];
  for (let index = 0; index < PAGES; index++) {
    await untilQuiet(source, target);
    const offset = Math.floor((mib * 2 ** 20 * (2 * index + 1)) / (2 * PAGES) / PAGE_BYTES) * PAGE_BYTES;
    const page = await seconds(async () => {
      writeAt(join(stage.source, file), contentOf(index, PAGE_BYTES), offset);
      const {exitCode} = await source.flush(VOLUME, FLUSH_MS_MAX);
      if (exitCode !== 0) throw new Error(`flush ended with ${exitCode}`);
    });
    pages.push(note('a page', page));
    rsyncPages.push(note('its rsync', await seconds(() => stage.copyByRsync(VOLUME))));
  }
  await untilQuiet(source, target);
  await untilInSync(source, VOLUME);
  const before = peaksOf(stage);
  await Promise.all([source.stop(), target.stop()]);
  must('sync');
  const catchUp = note('catch-up', await seconds(() => startBoth(stage, VOLUME)));
  const noOp = note('its rsync -aHAX', await seconds(() => stage.copyByRsync(VOLUME, '-AX')));
  const peaks = peaksOf(stage).map((peak, index) => Math.max(peak, before[index]!));
  must('cmp', join(stage.source, file), join(stage.targets.towline, file));
  await stage.end();
  return {
    MiB: mib,
    'first copy s': round(firstCopy),
    'rsync s': round(rsyncCopy),
    '× rsync': round(firstCopy / rsyncCopy),
    'page s': round(median(pages)),
    'page, rsync s': round(median(rsyncPages)),
    'page × rsync': round(median(pages) / median(rsyncPages)),
    'catch-up s': round(catchUp),
    'rsync -aHAX s': round(noOp),
    'source MB': peaks[0],
    'target MB': peaks[1],
  };
}
