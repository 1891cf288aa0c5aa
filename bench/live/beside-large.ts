/** Small changes in a volume whose first copy is under way: one large file of it is still being sent. */
import {existsSync, mkdirSync, statfsSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {makeHosts} from '../agents/hosts.ts';
import {quantile} from '../numbers.ts';
import {must} from '../sync/filesystems.ts';
import {fillSmall, SMALL_FILE_BYTES, smallPath} from '../sync/trees.ts';
import {type Case, rowsOf} from './case.ts';
import {change, contentOf, until} from './changes.ts';
import {writePattern} from './large-files.ts';

const VOLUME = 'tree';
const SMALL_FILES = 1_000;
const CHANGE_EVERY_MS = 500;
const UNDER_WAY_BYTES = 64 << 20; // so much of the large file is on the target's disk when the first change is made
const CHANGES_MIN = 4;
const SEEN_MS_MAX = 1_000;

export const besideLarge: Case = async (context) => {
  const rows = rowsOf('beside-large', context);
  const sizeMiB = context.isQuick ? 1_024 : 10_240;
  // Both filesystems, and Towline on the target, keep a twentieth free.
  const {source, targets, addVolume, end} = await makeHosts({
    base: context.base,
    room: {sizeMiB: Math.ceil(sizeMiB * 1.2) + 1_024},
  });
  const [from, to] = [join(source.path, VOLUME), join(targets[0].path, VOLUME)];
  fillSmall(from, SMALL_FILES);
  writePattern(join(from, 'large'), sizeMiB * 2 ** 20);
  mkdirSync(to);
  must('sync');
  const freeBytes = (): number => statfsSync(to).bavail * statfsSync(to).bsize;
  const freeBefore = freeBytes();
  const startMs = performance.now();
  const copying = addVolume(VOLUME);
  await until('the large file', () => freeBefore - freeBytes() > UNDER_WAY_BYTES);
  const changes: Promise<number>[] = [];
  for (; !existsSync(join(to, 'large')); await sleep(CHANGE_EVERY_MS)) {
    const path = smallPath((changes.length * 7_919) % SMALL_FILES);
    changes.push(change(join(from, path), join(to, path), contentOf(changes.length, SMALL_FILE_BYTES)));
  }
  const copySeconds = (performance.now() - startMs) / 1_000;
  const times = await Promise.all(changes);
  if (times.length < CHANGES_MIN) throw new Error(`the copy was over after ${times.length} changes`);
  await copying;
  must('cmp', join(from, 'large'), join(to, 'large'));
  rows.tell(`first copy of ${sizeMiB} MiB`, copySeconds, 's');
  rows.tell('changes beside it', times.length, 'changes');
  rows.tell('a change beside it p50', quantile(times, 0.5), 'ms');
  rows.atMost('a change beside it p99', quantile(times, 0.99), 'ms', SEEN_MS_MAX);
  rows.tell('memory of the source', source.agent.memory().peakBytes / 1e6, 'MB');
  rows.tell('memory of the target', targets[0].agent.memory().peakBytes / 1e6, 'MB');
  await end();
  return rows.all;
};
