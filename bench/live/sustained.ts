/**
 * 2,000 small changes a second for a minute: how late the target shows them, and that it shows them all.
 *
 * Samples that were not yet seen are looked at in turn, some of them every few milliseconds: a lag is up to 4 ms too large,
 * and a hundredth more where it is long. One that a later change of the same file has overtaken counts as seen.
 */
import {closeSync, mkdirSync, openSync, readSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {differencesOf} from '../../test/hosts/agents.ts';
import {type Hosts, makeHosts, untilEqual} from '../agents/hosts.ts';
import {quantile} from '../numbers.ts';
import {must} from '../sync/filesystems.ts';
import {fillSmall} from '../sync/trees.ts';
import {type Case, type Rows, rowsOf} from './case.ts';
import {changedPath, changeIn, monotonicMs, startChanges} from './pace.ts';

const VOLUME = 'tree';
const PER_SECOND = 2_000;
const SAMPLE_EVERY = 20;
const LOOK_MS = 3;
const LOOKS_MAX = 64; // at a time: a copy that is far behind is not held back further by those who look at it
const LAG_MS_MAX = 500;
const PACE_SHARE_MIN = 0.99;
const LAST_MS_MAX = 300_000;

export const sustained: Case = async (context) => {
  const rows = rowsOf('sustained', context);
  const [fileCount, seconds] = context.isQuick ? [20_000, 5] : [20_000, 60];
  const hosts = await makeHosts({base: context.base, room: {sizeMiB: 2_048}});
  fillSmall(join(hosts.source.path, VOLUME), fileCount);
  mkdirSync(join(hosts.targets[0].path, VOLUME));
  must('sync');
  for (const [turn, settle] of ['default', '0ms'].entries()) {
    await hosts.addVolume(VOLUME, settle === 'default' ? {} : {settle});
    await run(hosts, {fileCount, seconds, settle, first: 1 + turn * PER_SECOND * seconds}, rows);
    await untilEqual(hosts.source.agent, VOLUME);
    const differences = await differencesOf(join(hosts.source.path, VOLUME), join(hosts.targets[0].path, VOLUME));
    const lost = differences.split('\n').filter(Boolean);
    rows.atMost(`lost at the end, as rsync finds, settle ${settle}`, lost.length, 'files', 0);
  }
  rows.tell('memory of the source', hosts.source.agent.memory().peakBytes / 1e6, 'MB');
  rows.tell('memory of the target', hosts.targets[0].agent.memory().peakBytes / 1e6, 'MB');
  await hosts.end();
  return rows.all;
};

async function run(
  {source, targets}: Hosts,
  {fileCount, seconds, settle, first}: {fileCount: number; seconds: number; settle: string; first: number},
  rows: Rows,
): Promise<void> {
  const countMax = PER_SECOND * seconds;
  const root = join(source.path, VOLUME);
  const writer = startChanges({root, fileCount, first, sampleEvery: SAMPLE_EVERY, perSecond: PER_SECOND, countMax});
  const lags = await lagsOf(writer, join(targets[0].path, VOLUME), {
    fileCount,
    first,
    sampleCount: countMax / SAMPLE_EVERY,
  });
  const {writtenMs} = writer;
  const writtenSeconds = (writtenMs.at(-1)! - writtenMs[0]!) / 1_000;
  const written = (writtenMs.length - 1) * SAMPLE_EVERY;
  const restMs = monotonicMs() - writtenMs.at(-1)!;
  const {lateMs} = writer.counts();
  await writer.end();
  const at = `settle ${settle}, ${seconds} s`;
  rows.atLeast(`changes written, ${at}`, written / writtenSeconds, 'changes/s', PER_SECOND * PACE_SHARE_MIN);
  rows.tell(`latest that the writer was, ${at}`, lateMs, 'ms');
  rows.tell(`lag p50, ${at}`, quantile(lags, 0.5), 'ms');
  rows.atMost(`lag p99, ${at}`, quantile(lags, 0.99), 'ms', LAG_MS_MAX);
  rows.tell(`until the last sample was seen, after its write, ${at}`, restMs / 1_000, 's');
  rows.tell(`longest lag, ${at}`, Math.max(...lags), 'ms');
}

/** Of each sample, from the return of its write(2) until the target has it. */
async function lagsOf(
  writer: ReturnType<typeof startChanges>,
  copy: string,
  {fileCount, first, sampleCount}: {fileCount: number; first: number; sampleCount: number},
): Promise<number[]> {
  const lags: number[] = [];
  const outstanding = new Set<number>();
  let endMs = Infinity;
  for (let taken = 0; taken < sampleCount || outstanding.size > 0;) {
    const {samples} = writer.counts();
    for (; taken < samples; taken++) outstanding.add(taken);
    if (taken === sampleCount) endMs = Math.min(endMs, monotonicMs() + LAST_MS_MAX);
    for (const sample of [...outstanding].slice(0, LOOKS_MAX)) {
      const index = sample * SAMPLE_EVERY;
      outstanding.delete(sample);
      if (shownIn(join(copy, changedPath(index, fileCount))) < first + index)
        outstanding.add(sample); // its next turn is the last
      else lags.push(monotonicMs() - writer.writtenMs[sample]!);
    }
    if (monotonicMs() > endMs)
      throw new Error(`${outstanding.size} samples did not arrive in ${LAST_MS_MAX / 1_000} s`);
    await sleep(LOOK_MS);
  }
  return lags;
}

const head = Buffer.alloc(16);

function shownIn(path: string): number {
  const fd = openSync(path, 'r');
  readSync(fd, head, 0, head.length, 0);
  closeSync(fd);
  return changeIn(head) || 0; // the first content is random bytes
}
