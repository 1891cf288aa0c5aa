/**
 * A large file that is sent in many attempts, each interrupted somewhere, while its source changes and its part on the
 * target is damaged, moved or replaced: what is staged in the end is the source's file, byte for byte.
 *
 * Longer: TOWLINE_LAB_ROUNDS=1000.
 */
import {
  chmodSync,
  closeSync,
  copyFileSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {afterAll, afterEach, expect, test} from 'vitest';
import {LEAF_BYTES} from '../../src/model/digest.ts';
import {Random} from '../sync/random-tree.ts';
import {Transfers, Volumes} from '../unit/session/transfer-fixture.ts';
import {campaignOf, recordResult} from './campaign.ts';

const ROUNDS = 5;
const ATTEMPTS_MAX = 6;
const TRIES_MAX = 4; // of the last attempt: a base may be refused, and a part that was damaged may cost one
const LEAVES_MIN = 33;
const name = 'file';
const theirs = 'somebody’s file';

const counts = {attempts: 0, changes: 0, damages: 0, keptMiB: 0, sentMiB: 0, violations: 0};
let planted: ((staging: string) => void) | undefined;
afterEach(() => (planted = undefined));

/** Another version: a few bytes, more of it, less of it, or nothing like it. */
function changed(bytes: Buffer, random: Random): Buffer {
  counts.changes++;
  const now = Buffer.from(bytes);
  const at = random.below(bytes.length - 1_000);
  switch (random.below(5)) {
    case 0:
      return now.fill(random.bytes(100), at, at + 100);
    case 1:
      return Buffer.concat([now, random.bytes(random.below(3 * LEAF_BYTES))]);
    case 2:
      return now.subarray(0, Math.max(LEAVES_MIN * LEAF_BYTES, now.length - random.below(9 * LEAF_BYTES)));
    case 3:
      return now.fill(0, at, at + random.below(5 * LEAF_BYTES));
    default:
      return Buffer.concat([now.subarray(0, at), random.bytes(1_000), now.subarray(at)]);
  }
}

/** Does something to what is staged that nobody should. */
function damage(volumes: Volumes, random: Random): void {
  const [stage] = readdirSync(volumes.staging).filter((file) => file.startsWith('t'));
  if (stage === undefined || !lstatSync(join(volumes.staging, stage)).isFile()) return; // never through its own link
  counts.damages++;
  const part = join(volumes.staging, stage);
  const {size} = statSync(part);
  const at = random.below(Math.max(1, size));
  const write = (bytes: Buffer): void => {
    const fd = openSync(part, 'r+');
    writeSync(fd, bytes, 0, bytes.length, at);
    closeSync(fd);
  };
  const cut = (sizeBytes: number): void => {
    const fd = openSync(part, 'r+');
    ftruncateSync(fd, sizeBytes);
    closeSync(fd);
  };
  const moved = join(volumes.target, 'moved');
  const ways = [
    () => write(random.bytes(1 + random.below(300_000))),
    () => write(Buffer.alloc(1 + random.below(2_000_000))),
    () => cut(at),
    () => cut(size + random.below(5_000_000)),
    () => chmodSync(part, 0o4755),
    () => unlinkSync(part),
    () => copyFileSync(part, `${part}.copy`) ?? renameSync(`${part}.copy`, part),
    () => renameSync(part, moved) ?? symlinkSync(join(volumes.target, 'theirs'), part),
  ];
  random.of(ways)();
}

/** Something on either side ends in the middle of a job. */
function interrupt(transfers: Transfers, volumes: Volumes, random: Random): void {
  let jobs = random.below(130);
  const way = random.below(3);
  transfers.onJob = () => {
    if (jobs-- > 0) return;
    if (way === 0) volumes.sourceHandlers.close();
    else if (way === 1) volumes.targetHandlers.close();
    else if (jobs === -1) void transfers.lose();
  };
}

/** @returns what was wrong */
async function play(seed: number): Promise<string[]> {
  const random = new Random(seed);
  const volumes = new Volumes();
  writeFileSync(join(volumes.target, 'theirs'), theirs);
  let bytes = random.bytes((LEAVES_MIN + random.below(20)) * LEAF_BYTES + random.below(9_000));
  const hasHoles = random.below(3) === 0;
  if (hasHoles) bytes.fill(0, 5 * LEAF_BYTES, 12 * LEAF_BYTES + random.below(LEAF_BYTES));
  const old = random.below(2) === 0 ? changed(bytes, random) : undefined;
  const attempts = 1 + random.below(ATTEMPTS_MAX);
  let last: Transfers | undefined;
  let outcome = 'none';
  for (let attempt = 0; attempt < attempts + TRIES_MAX && outcome !== 'staged'; attempt++) {
    counts.attempts++;
    const isLast = attempt >= attempts;
    volumes.keepParts(); // a target that has just started, from what it noted
    const transfers = await new Transfers(volumes, {isOld: random.below(8) === 0}).ready();
    const base = old === undefined || random.below(2) === 0 ? undefined : transfers.believe(name, old);
    if (!isLast) interrupt(transfers, volumes, random);
    else if (planted !== undefined)
      transfers.onJob = (kind) => {
        if (kind === 'finish-staged') planted!(volumes.staging);
      };
    const sent = await transfers
      .send({name, bytes, transfer: 1, hasHoles, mayBeHeld: true}, base)
      .catch(() => ({kind: 'lost' as const}));
    counts.keptMiB += transfers.copiedBytes / 2 ** 20;
    counts.sentMiB += transfers.literalBytes / 2 ** 20;
    if (isLast && sent.kind === 'staged') {
      outcome = 'staged';
      last = transfers;
      break;
    }
    transfers.onJob = () => undefined;
    await transfers.lose();
    if (!isLast && random.below(2) === 0) bytes = changed(bytes, random);
    if (!isLast && random.below(2) === 0) damage(volumes, random);
  }
  const wrong: string[] = [];
  if (outcome !== 'staged') wrong.push('it never arrived');
  else if (last!.stagedBytes(1)?.equals(bytes) !== true) wrong.push('what is staged is another file');
  if (readFileSync(join(volumes.target, 'theirs'), 'utf8') !== theirs) wrong.push('somebody’s file was written to');
  await last?.lose();
  await volumes.partials!.clear();
  const open = [volumes.sourceHandlers, volumes.targetHandlers].some((handlers) => handlers.isHolding());
  if (open) wrong.push('a file stayed open');
  return wrong.map((what) => `seed ${seed}: ${what}`);
}

const campaign = campaignOf(ROUNDS);

afterAll(() => {
  counts.keptMiB = Math.round(counts.keptMiB);
  counts.sentMiB = Math.round(counts.sentMiB);
  recordResult('large files, resumed', campaign, counts);
});

// One test each: what it has made goes with it.
test.each(campaign.seeds)(
  'H2 H3 a history of attempts, changes and damage, seed %i: the file is whole in the end',
  {timeout: 60_000},
  async (seed) => {
    const wrong = await play(seed);
    counts.violations += wrong.length;
    expect(wrong).toEqual([]);
  },
);

test('control: a byte that is changed behind every check is found', async () => {
  planted = (staging) => {
    const [stage] = readdirSync(staging).filter((file) => /^t\d+-\d+$/.test(file));
    const fd = openSync(join(staging, stage!), 'r+');
    writeSync(fd, Buffer.of(1, 2, 3), 0, 3, 700_000);
    closeSync(fd);
  };
  const wrong = await play(1);
  expect(wrong).toEqual(['seed 1: what is staged is another file']);
});
