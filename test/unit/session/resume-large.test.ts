/**
 * A large file whose transfer ended early: the next one, over another connection or by another process, sends what is
 * missing. Real folders, jobs and sessions; what is kept is believed only as far as its leaves have their digests.
 */
import {randomBytes} from 'node:crypto';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import {makeFat, needsFat} from '../../fat-fs.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsLoopMounts} from '../../needs.ts';
import {contentOf, Transfers, Volumes} from './transfer-fixture.ts';

const name = 'file';
const LEAVES = 48;
const SENT_LEAVES = 40;
const LEAVES_PER_READ = 8;
const DAY_MS = 86_400_000;

interface Begun {
  volumes: Volumes;
  bytes: Buffer;
  /** Host path of what is staged. */
  part: string;
}

/** A transfer that loses its connection when so many leaves were written. */
async function begin(
  options: {leaves?: number; hasHoles?: boolean; bytes?: Buffer; staging?: string} = {},
): Promise<Begun> {
  const {hasHoles = false, bytes = randomBytes((options.leaves ?? LEAVES) * LEAF_BYTES + 5)} = options;
  const volumes = new Volumes(undefined, options.staging).keepParts();
  const transfers = await new Transfers(volumes).ready();
  let leaves = 0;
  transfers.onJob = (kind) => {
    if (kind === 'write-leaves' && ++leaves > SENT_LEAVES) throw new Error('the connection is lost');
  };
  await transfers.send({name, bytes, transfer: 1, hasHoles}, undefined).catch(() => undefined);
  await transfers.lose();
  const [stage = ''] = readdirSync(volumes.staging);
  expect(volumes.partials!.paths()).toEqual([name]);
  return {volumes, bytes, part: join(volumes.staging, stage)};
}

/** What a later process sends of it. */
async function goOn({volumes}: Begun, bytes: Buffer, hasHoles = false): Promise<Transfers> {
  const transfers = await new Transfers(volumes.keepParts()).ready();
  const outcome = await transfers.send({name, bytes, transfer: 1, hasHoles, mayBeHeld: true}, undefined);
  expect(outcome).toMatchObject({kind: 'staged', content: contentOf(bytes)});
  expect(transfers.stagedBytes(1)!.equals(bytes)).toBe(true);
  return transfers;
}

describe('a large file that was sent in part', () => {
  test('H2 is gone on with where it ended: 40 of 48 leaves are kept and not sent again', async () => {
    const begun = await begin();
    const transfers = await goOn(begun, begun.bytes);
    expect(transfers.literalBytes).toBe((LEAVES - SENT_LEAVES) * LEAF_BYTES + 5);
    expect(transfers.copiedBytes).toBe(SENT_LEAVES * LEAF_BYTES);
    expect(readdirSync(begun.volumes.staging)).toHaveLength(1);
  });

  test('C2 and has changed on the source since: leaves that are equal are kept, the others sent, at any new size', async () => {
    for (const change of ['head', 'longer', 'shorter'] as const) {
      const begun = await begin();
      const {bytes} = begun;
      const now =
        change === 'head'
          ? Buffer.concat([randomBytes(100), bytes.subarray(100)])
          : change === 'longer'
            ? Buffer.concat([bytes, randomBytes(LEAF_BYTES)])
            : bytes.subarray(0, 36 * LEAF_BYTES + 7);
      const transfers = await goOn(begun, now);
      const [kept, total] = change === 'head' ? [39, LEAVES] : change === 'longer' ? [40, LEAVES + 1] : [36, 36];
      expect(transfers.literalBytes).toBe((total - kept) * LEAF_BYTES + (change === 'shorter' ? 0 : 5));
    }
  });

  test.each(['zeros', 'garbage', 'short', 'long'] as const)(
    'H5 and of which a power cut left %s is right all the same',
    async (damage) => {
      const begun = await begin();
      const left = readFileSync(begun.part);
      if (damage === 'zeros') left.fill(0, 10 * LEAF_BYTES + 4096, 12 * LEAF_BYTES);
      if (damage === 'garbage') randomBytes(100).copy(left, 10 * LEAF_BYTES + 4096);
      writeFileSync(begun.part, damage === 'long' ? Buffer.concat([left, randomBytes(90 * LEAF_BYTES)]) : left);
      if (damage === 'short') truncateSync(begun.part, 20 * LEAF_BYTES + 100);
      const transfers = await goOn(begun, begun.bytes);
      const lost = {zeros: 2, garbage: 1, short: 20, long: 0}[damage];
      expect(transfers.literalBytes).toBe((LEAVES - SENT_LEAVES + lost) * LEAF_BYTES + 5);
    },
  );

  test('and is damaged after the target told what it has: the leaf is rejected and sent', async () => {
    const begun = await begin();
    const transfers = await new Transfers(begun.volumes.keepParts()).ready();
    transfers.onJob = (kind) => {
      if (kind !== 'write-leaves') return;
      transfers.onJob = () => undefined;
      const left = readFileSync(begun.part);
      left[9 * LEAF_BYTES]! ^= 1;
      writeFileSync(begun.part, left);
    };
    const outcome = await transfers.send({name, bytes: begun.bytes, transfer: 1, mayBeHeld: true}, undefined);
    expect(outcome).toMatchObject({kind: 'staged'});
    expect(transfers.stagedBytes(1)!.equals(begun.bytes)).toBe(true);
    expect(transfers.heard.filter(({kind}) => kind === 'leaf-rejected')).toHaveLength(1);
  });

  test('and has holes keeps them, also where something else lies there now', async () => {
    const bytes = Buffer.alloc(60 * LEAF_BYTES);
    for (const leaf of [...Array(40).keys(), 50, 59]) randomBytes(8_192).copy(bytes, leaf * LEAF_BYTES + 16_384);
    const begun = await begin({hasHoles: true, bytes});
    const left = readFileSync(begun.part);
    randomBytes(LEAF_BYTES).copy(left, 55 * LEAF_BYTES);
    randomBytes(3 * LEAF_BYTES).copy(left, 10 * LEAF_BYTES);
    writeFileSync(begun.part, left);
    const transfers = await goOn(begun, bytes, true);
    expect(transfers.literalBytes).toBeLessThan(26 * 8_192);
    expect(transfers.copiedBytes).toBeGreaterThan(14 * LEAF_BYTES);
    expect(transfers.stagedBytes(1)!.equals(bytes)).toBe(true);
  });

  needsFat(test)(
    'C2 and has holes, on a filesystem without them: a leaf that comes again leaves the others whole',
    async () => {
      const bytes = Buffer.alloc(60 * LEAF_BYTES);
      for (const leaf of [...Array(40).keys(), 50, 59]) randomBytes(8_192).copy(bytes, leaf * LEAF_BYTES + 16_384);
      const begun = await begin({hasHoles: true, bytes, staging: await makeFat('600')});
      const transfers = await new Transfers(begun.volumes.keepParts()).ready();
      transfers.onJob = (kind) => {
        if (kind !== 'write-leaves') return;
        transfers.onJob = () => undefined;
        for (const at of [9, 45]) {
          const fd = openSync(begun.part, 'r+');
          writeSync(fd, randomBytes(100), 0, 100, at * LEAF_BYTES + 16_384);
          closeSync(fd);
        }
      };
      const file = {name, bytes, transfer: 1, hasHoles: true, mayBeHeld: true};
      expect(await transfers.send(file, undefined)).toMatchObject({kind: 'staged', content: contentOf(bytes)});
      expect(transfers.stagedBytes(1)!.equals(bytes)).toBe(true);
      expect(transfers.heard.filter(({kind}) => kind === 'leaf-rejected')).toHaveLength(1);
      expect(transfers.literalBytes).toBeLessThan(10 * LEAF_BYTES);
    },
  );

  test('H6 and whose place another file or a link has taken is begun anew, and that is not touched', async () => {
    for (const planted of ['file', 'symlink', 'second name', 'copy'] as const) {
      const begun = await begin();
      const theirs = join(begun.volumes.target, 'theirs');
      writeFileSync(theirs, 'somebody’s');
      if (planted === 'second name') linkSync(begun.part, join(begun.volumes.target, 'name'));
      else {
        renameSync(begun.part, `${begun.part}.moved`);
        if (planted === 'file') renameSync(theirs, begun.part);
        if (planted === 'symlink') symlinkSync(theirs, begun.part);
        if (planted === 'copy') copyFileSync(`${begun.part}.moved`, begun.part);
      }
      const before = readFileSync(begun.part);
      const transfers = await goOn(begun, begun.bytes);
      expect(transfers.literalBytes, planted).toBe(begun.bytes.length);
      // A part of ours that cannot be gone on with goes; theirs stays, whatever its name is.
      if (planted === 'second name') expect(readdirSync(begun.volumes.staging)).toHaveLength(1);
      const kept = planted === 'second name' ? join(begun.volumes.target, 'name') : begun.part;
      expect(readFileSync(kept).equals(before), planted).toBe(true);
    }
  });

  test('and is cut again before anything more came is all kept', async () => {
    const begun = await begin();
    const again = await new Transfers(begun.volumes.keepParts()).ready();
    again.onJob = (kind) => {
      if (kind === 'held-leaves') throw new Error('the connection is lost');
    };
    again.onHeard = () => undefined;
    const sending = again
      .send({name, bytes: begun.bytes, transfer: 1, mayBeHeld: true}, undefined)
      .catch(() => undefined);
    await expect.poll(() => begun.volumes.partials!.paths()).toEqual([]); // it is worked on
    await again.lose();
    await sending;
    const transfers = await goOn(begun, begun.bytes);
    expect(transfers.literalBytes).toBe((LEAVES - SENT_LEAVES) * LEAF_BYTES + 5);
  });

  test('and whose job of the next transfer fails is gone on with by the one after', async () => {
    for (const job of ['open-staged', 'drop-staged']) {
      const begun = await begin();
      begun.volumes.keepParts();
      const again = await new Transfers(begun.volumes).ready();
      let jobs = 0;
      again.onJob = (kind) => {
        if (kind === job || (kind === 'write-leaves' && ++jobs > 3)) throw new Error('the root is gone');
      };
      const file = {name, bytes: begun.bytes, transfer: 1, mayBeHeld: true};
      await again.send(file, undefined).catch(() => undefined);
      await again.lose();
      again.onJob = () => undefined;
      begun.volumes.targetHandlers.close();
      // The same process: it knows who works on what.
      const then = await new Transfers(begun.volumes).ready();
      expect(await then.send(file, undefined)).toMatchObject({kind: 'staged', content: contentOf(begun.bytes)});
      expect(then.literalBytes).toBe((LEAVES - SENT_LEAVES) * LEAF_BYTES + 5);
    }
  });

  test('and got the rights of its path already has those of a new file again', async () => {
    const begun = await begin();
    chmodSync(begun.part, 0o6777);
    const transfers = await goOn(begun, begun.bytes);
    expect(transfers.literalBytes).toBeLessThan(begun.bytes.length);
    expect(statSync(begun.part).mode & 0o7777).toBe(0o600);
  });

  test('B7 was begun as a delta goes on without its base, and the other way round', async () => {
    const old = randomBytes(LEAVES * LEAF_BYTES);
    // Every other leaf is new, and the second half is shifted.
    const half = old.subarray(0, (LEAVES / 2) * LEAF_BYTES);
    const bytes = Buffer.concat([half, randomBytes(1_000), old.subarray(half.length)]);
    for (let leaf = 0; leaf < LEAVES / 2; leaf += 2) randomBytes(LEAF_BYTES).copy(bytes, leaf * LEAF_BYTES);
    for (const isFirstWithBase of [true, false]) {
      const volumes = new Volumes().keepParts();
      const first = await new Transfers(volumes).ready();
      const base = first.believe(name, old);
      let frames = 0;
      first.onJob = (kind) => {
        if (kind === 'write-leaves' && ++frames > 16) throw new Error('the connection is lost');
      };
      await first.send({name, bytes, transfer: 1}, isFirstWithBase ? base : undefined).catch(() => undefined);
      await first.lose();
      const then = await new Transfers(volumes.keepParts()).ready();
      const again = then.believe(name, old);
      const sent = then.send({name, bytes, transfer: 1, mayBeHeld: true}, isFirstWithBase ? undefined : again);
      expect(await sent).toMatchObject({kind: 'staged', content: contentOf(bytes)});
      expect(then.stagedBytes(1)!.equals(bytes)).toBe(true);
      expect(then.literalBytes).toBeLessThan(isFirstWithBase ? bytes.length - 15 * LEAF_BYTES : 6 * LEAF_BYTES);
    }
  });

  test('goes whole to an agent that does not know of parts, which asks nothing and is asked nothing', async () => {
    const begun = await begin();
    const transfers = await new Transfers(begun.volumes.keepParts(), {isOld: true}).ready();
    const outcome = await transfers.send({name, bytes: begun.bytes, transfer: 1, mayBeHeld: true}, undefined);
    expect(outcome).toMatchObject({kind: 'staged'});
    expect(transfers.literalBytes).toBe(begun.bytes.length);
    expect(transfers.stagedBytes(1)!.equals(begun.bytes)).toBe(true);
  });

  test('and is gone is sent whole', async () => {
    const begun = await begin();
    unlinkSync(begun.part);
    expect((await goOn(begun, begun.bytes)).literalBytes).toBe(begun.bytes.length);
  });

  test('is gone on with on the same connection after the source gave up', async () => {
    const volumes = new Volumes().keepParts();
    const transfers = await new Transfers(volumes).ready();
    const bytes = randomBytes(LEAVES * LEAF_BYTES);
    let reads = 0;
    transfers.onJob = (kind) => {
      // As a thread that ends.
      if (kind === 'read-leaves' && ++reads > SENT_LEAVES / LEAVES_PER_READ) volumes.sourceHandlers.close();
    };
    const lost = await transfers.send({name, bytes, transfer: 1}, undefined);
    expect(lost).toMatchObject({kind: 'unread'});
    expect(transfers.literalBytes).toBe(SENT_LEAVES * LEAF_BYTES);
    transfers.onJob = () => undefined;
    const outcome = await transfers.send({name, bytes, transfer: 2, mayBeHeld: true}, undefined);
    expect(outcome).toMatchObject({kind: 'staged', content: contentOf(bytes)});
    expect(transfers.literalBytes).toBe(bytes.length);
    expect(readdirSync(volumes.staging)).toHaveLength(1);
  });

  test('is gone on with after the thread of the target ended', async () => {
    const volumes = new Volumes().keepParts();
    const transfers = await new Transfers(volumes).ready();
    const bytes = randomBytes(LEAVES * LEAF_BYTES);
    let leaves = 0;
    transfers.onJob = (kind) => {
      if (kind === 'write-leaves' && ++leaves === SENT_LEAVES) volumes.targetHandlers.close();
    };
    const lost = await transfers.send({name, bytes, transfer: 1}, undefined);
    expect(lost).toMatchObject({kind: 'refused', result: {code: 'corrupt'}});
    transfers.literalBytes = 0;
    const outcome = await transfers.send({name, bytes, transfer: 2, mayBeHeld: true}, undefined);
    expect(outcome).toMatchObject({kind: 'staged'});
    expect(transfers.literalBytes).toBe((LEAVES - SENT_LEAVES + 1) * LEAF_BYTES);
    expect(transfers.stagedBytes(2)!.equals(bytes)).toBe(true);
  });

  test('of which little came, or that is small, is not kept', async () => {
    for (const {leaves, sent} of [
      {leaves: 40, sent: 2},
      {leaves: 30, sent: 20},
    ]) {
      const volumes = new Volumes().keepParts();
      const transfers = await new Transfers(volumes).ready();
      let written = 0;
      transfers.onJob = (kind) => {
        if (kind === 'write-leaves' && ++written > sent) throw new Error('the connection is lost');
      };
      const bytes = randomBytes(leaves * LEAF_BYTES);
      await transfers.send({name, bytes, transfer: 1}, undefined).catch(() => undefined);
      await transfers.lose();
      expect(readdirSync(volumes.staging)).toEqual([]);
      expect(volumes.partials!.paths()).toEqual([]);
    }
  });
});

describe('parts that nobody goes on with', () => {
  test('go when their path is deleted, arrives another way or is renamed, and stay when another one is', async () => {
    const done = [{status: 'done'} as const];
    const {volumes} = await begin();
    await volumes.partials!.outdated([{kind: 'delete', path: 'other', type: 'file'}], done);
    await volumes.partials!.outdated([{kind: 'delete', path: name, type: 'file'}], [failed]);
    expect(readdirSync(volumes.staging)).toHaveLength(1);
    await volumes.partials!.outdated([{kind: 'rename', path: 'x', to: name, type: 'file', content: undefined}], done);
    expect(readdirSync(volumes.staging)).toEqual([]);
    expect(volumes.keepParts().partials!.paths()).toEqual([]);
  });

  test('go after a week', async () => {
    const {volumes} = await begin();
    const later = (days: number) => ({...systemClock, nowMs: () => systemClock.nowMs() + days * DAY_MS});
    await volumes.keepParts(later(6)).partials!.prune();
    expect(readdirSync(volumes.staging)).toHaveLength(1);
    await volumes.keepParts(later(8)).partials!.prune();
    expect(readdirSync(volumes.staging)).toEqual([]);
  });

  needsLoopMounts(test)(
    'H7 stay where all of them and the trash would not be room enough for another file',
    async () => {
      const {path} = makeLoopFilesystem('tmpfs', 32);
      const {volumes, part} = await begin({staging: path});
      writeFileSync(join(path, 'blocker'), Buffer.alloc(12 << 20));
      const transfers = await new Transfers(volumes.keepParts()).ready();
      const send = (sizeBytes: number, transfer: number): ReturnType<typeof transfers.send> =>
        transfers.send({name: 'other', bytes: randomBytes(sizeBytes), transfer}, undefined);
      expect(await send(24 << 20, 1)).toMatchObject({kind: 'refused', result: {code: 'no-space'}});
      expect(existsSync(part)).toBe(true);
      expect(await send(16 << 20, 2)).toMatchObject({kind: 'staged'});
      expect(existsSync(part)).toBe(false);
    },
  );

  /** Leaves as many parts as that, each of another path; all but the last with nothing removed. */
  async function leave({staging, partials}: Volumes, count: number): Promise<void> {
    for (let number = 0; number < count; number++) {
      const stage = `t${number + 1}-1`;
      writeFileSync(join(staging, stage), 'part');
      const {ino, birthtimeNs} = statSync(join(staging, stage), {bigint: true});
      const btime = {s: Number(birthtimeNs / 1_000_000_000n), ns: Number(birthtimeNs % 1_000_000_000n)};
      partials!.note({stage, path: `path-${number}`, sizeBytes: 4, ino: Number(ino), btime});
      if (number < count - 1) partials!.keep(stage);
      else await partials!.leave(stage);
    }
  }

  test('that cannot be removed keep nobody from going on: they are no parts any more', async () => {
    const volumes = new Volumes().keepParts(undefined, () => {
      throw new Error('EIO');
    });
    await leave(volumes, 18);
    expect(volumes.partials!.paths()).toHaveLength(16);
    expect(await volumes.partials!.clear()).toBe(16);
    expect([volumes.partials!.paths(), readdirSync(volumes.staging).length]).toEqual([[], 18]);
  });

  test('are 16 at most, the newest ones', async () => {
    const {volumes} = await begin();
    const {partials} = volumes;
    await leave(volumes, 20);
    expect(partials!.paths()).toEqual(Array.from({length: 16}, (_, index) => `path-${index + 4}`));
    expect(readdirSync(volumes.staging)).toHaveLength(16);
    expect(await partials!.clear()).toBe(16);
    expect(readdirSync(volumes.staging)).toEqual([]);
  });
});

const failed = {status: 'failed', code: 'unwritable', message: 'no'} as const;
