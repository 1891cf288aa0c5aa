/** Large files of which a version is kept as a clone, from a source on XFS: what is read, what is sent, what is believed. */
import {randomBytes} from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {statAt} from '../../../src/linux/stat.ts';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import type {ExtentsPort, LargeFileOptions, LargeFileOutcome} from '../../../src/session/large-file.ts';
import {readHandlers} from '../../../src/volume/read-files.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';
import {runHere} from './run-here.ts';
import {contentOf, Transfers, Volumes} from './transfer-fixture.ts';

const name = 'file';
const BYTES = 32 << 20;
const SLACK = 1 << 20; // of what the test itself reads

/** Pages of 8 KiB that change where they are, in the file and in what it is known to be. */
function writePages(bytes: Buffer, pages: readonly number[]): (path: string) => void {
  const written = pages.map((page) => ({at: page * 8192, page: randomBytes(8192)}));
  for (const {at, page} of written) page.copy(bytes, at);
  return (path) => {
    const fd = openSync(path, 'r+');
    for (const {at, page} of written) writeSync(fd, page, 0, page.length, at);
    closeSync(fd);
  };
}

function readSoFar(): number {
  return Number(/^rchar: (\d+)/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1]);
}

/** How much was read for it. */
async function reading<T>(work: () => Promise<T>): Promise<{out: T; bytes: number}> {
  const before = readSoFar();
  const out = await work();
  return {out, bytes: readSoFar() - before};
}

const describeXfs = needsLoopMounts(needsCommands('mkfs.xfs')(describe));

describeXfs('with extents', () => {
  const {path: folder} = makeLoopFilesystem('xfs', 4_000);
  let count = 0;

  class Link extends Transfers {
    refusedCount = 0;
    bytes = randomBytes(BYTES);
    base: NonNullable<LargeFileOptions['base']> | undefined;
    #transfer = 0;

    override extents: ExtentsPort = {
      reserveShare: 0.05,
      pauseMs: 0,
      onKept: () => undefined,
      onRefused: () => void this.refusedCount++,
    };

    /** Sends what the file is now, and takes what arrived for what the target has. */
    async put(write?: (path: string) => void): Promise<{out: LargeFileOutcome; bytes: number}> {
      const transfer = ++this.#transfer;
      const {bytes} = this;
      const sent = await reading(() => this.send({name, bytes, transfer, ...(write && {write})}, this.base));
      if (sent.out.kind === 'staged') {
        expect(this.stagedBytes(transfer)?.equals(bytes)).toBe(true);
        expect(sent.out.content).toEqual(contentOf(bytes));
        this.base = this.believe(name, bytes);
        this.literalBytes = 0;
      }
      return sent;
    }
  }

  const newFolder = (): string => {
    const path = join(folder, `f${++count}`);
    mkdirSync(path);
    return path;
  };
  /** @param where the target's staging and volume are: on the same filesystem, or on that of other tests */
  const newLink = (where: 'shares' | 'copies', options: {isOld?: boolean} = {}): Promise<Link> => {
    const volumes = where === 'shares' ? new Volumes(newFolder(), newFolder(), newFolder()) : new Volumes(newFolder());
    return new Link(volumes, options).ready();
  };

  test('of 32 MiB with 3 changed pages 3 leaves are read, and the target, which shares blocks, reads nothing', async () => {
    const link = await newLink('shares');
    await link.put();
    for (let round = 0; round < 3; round++) {
      let literal = 0;
      const write = writePages(link.bytes, [round, 700, 4_095]);
      const sent = await reading(async () => {
        const out = await link.send({name, bytes: link.bytes, transfer: 100 + round, write}, link.base);
        literal = link.literalBytes;
        return out;
      });
      expect(sent.out).toMatchObject({kind: 'staged', content: contentOf(link.bytes), isByExtents: true});
      expect(sent.bytes).toBeLessThan(3 * LEAF_BYTES + 3 * 8192 + SLACK);
      expect(literal).toBe(3 * 8192);
      expect(link.stagedBytes(100 + round)?.equals(link.bytes)).toBe(true);
      link.base = link.believe(name, link.bytes);
      link.literalBytes = 0;
    }
  });

  test('a target that shares no blocks, and one that knows no runs of leaves, have the same', async () => {
    for (const options of [{}, {isOld: true}]) {
      const link = await newLink('copies', options);
      await link.put();
      await link.put(writePages(link.bytes, [1, 2, 3_000]));
      const {out} = await link.put(writePages(link.bytes, []));
      expect(out).toMatchObject({kind: 'equal'});
      link.bytes = link.bytes.subarray(0, 9_000_001);
      await link.put((path) => truncateSync(path, 9_000_001));
      link.bytes = Buffer.concat([link.bytes, Buffer.alloc(3_000_000)]);
      await link.put((path) => truncateSync(path, 12_000_001));
    }
  });

  test('leaves that rot on a target that shares no blocks are sent again, literal', async () => {
    const link = await newLink('copies');
    await link.put();
    const rotten = Buffer.from(link.bytes).fill(0, 7 * LEAF_BYTES, 7 * LEAF_BYTES + 9);
    link.base = link.believe(name, link.bytes, rotten);
    const write = writePages(link.bytes, [0]);
    expect(await link.send({name, bytes: link.bytes, transfer: 50, write}, link.base)).toMatchObject({kind: 'staged'});
    expect(link.stagedBytes(50)?.equals(link.bytes)).toBe(true);
    expect(link.literalBytes).toBe(8192 + LEAF_BYTES);
  });

  test('a base that is touched while leaves are taken from it unread makes no file', async () => {
    const link = await newLink('shares');
    await link.put();
    link.onJob = (kind) => {
      if (kind === 'finish-staged') utimesSync(join(link.target, name), 1, 1);
    };
    const write = writePages(link.bytes, [5]);
    const out = await link.send({name, bytes: link.bytes, transfer: 50, write}, link.base);
    expect(out).toMatchObject({kind: 'refused', result: {code: 'base-changed'}});
    expect(link.stagedBytes(50)).toBeUndefined();
  });

  test('a link that is a version behind is sent what changed since, and one of an unknown version all that its sums miss', async () => {
    const volumes = new Volumes(newFolder(), newFolder(), newFolder());
    const [one, other] = [await new Link(volumes).ready(), await new Link(volumes).ready()];
    await one.put();
    const before = Buffer.from(one.bytes);
    await one.put(writePages(one.bytes, [9]));
    const pages = writePages(one.bytes, [900]);
    other.bytes = one.bytes;
    other.base = other.believe(name, before);
    const behind = await reading(() => other.send({name, bytes: one.bytes, transfer: 1, write: pages}, other.base));
    expect(behind.out).toMatchObject({kind: 'staged', content: contentOf(one.bytes)});
    expect(behind.bytes).toBeLessThan(2 * LEAF_BYTES + SLACK);
    expect([other.literalBytes, other.stagedBytes(1)?.equals(one.bytes)]).toEqual([2 * 8192, true]);

    const strange = Buffer.from(one.bytes).fill(1, 0, 100);
    const {out} = await reading(() =>
      other.send({name, bytes: one.bytes, transfer: 2, write: () => undefined}, other.believe(name, strange)),
    );
    expect([out.kind, other.stagedBytes(2)?.equals(one.bytes)]).toEqual(['staged', true]);
    expect(other.literalBytes).toBe(3 * 8192);
  });

  test('what was appended to a file is sent to a link that is a version behind, whole leaves behind its base among it', async () => {
    const volumes = new Volumes(newFolder(), newFolder(), newFolder());
    const [one, other] = [await new Link(volumes).ready(), await new Link(volumes).ready()];
    await one.put();
    const before = Buffer.from(one.bytes);
    for (const addedBytes of [1_000_000, 600_000]) {
      const added = randomBytes(addedBytes);
      one.bytes = Buffer.concat([one.bytes, added]);
      await one.put((path) => appendFileSync(path, added));
    }
    other.bytes = one.bytes;
    other.base = other.believe(name, before);
    const {out} = await reading(() =>
      other.send({name, bytes: one.bytes, transfer: 1, write: () => undefined}, other.base),
    );
    expect([out.kind, other.stagedBytes(1)?.equals(one.bytes)]).toEqual(['staged', true]);
    expect(other.literalBytes).toBeLessThan(1_600_000 + 2 * 8192);
  });

  test('where more than a quarter changed all is read, so that what was shifted is found', async () => {
    const link = await newLink('shares');
    await link.put();
    link.bytes = Buffer.concat([randomBytes(100), link.bytes.subarray(0, BYTES - 100)]);
    const sent = await reading(() => link.send({name, bytes: link.bytes, transfer: 9}, link.base));
    expect([sent.out.kind, link.stagedBytes(9)?.equals(link.bytes)]).toEqual(['staged', true]);
    expect(sent.bytes).toBeGreaterThan(BYTES);
    expect(link.literalBytes).toBeLessThan(4 * 8192);
  });

  test('a file that is hashed while a version of it is kept is not read, but for what is asked of its disk', async () => {
    const source = newFolder();
    const volumes = new Volumes(source);
    const link = await new Link(volumes).ready();
    await link.put();
    const jobs = runHere(readHandlers((job) => job({fd: volumes.sourceFd, mountId: 0}), volumes.kept));
    const hash = (isFromDisk: boolean): Promise<{bytes: number; out: {digests: Uint8Array}}> =>
      reading(() =>
        jobs.run('hash-files', {files: [{path: name, expected: statAt(volumes.sourceFd, name)}], isFromDisk}),
      );
    for (const pages of [[], [77]]) {
      writePages(link.bytes, pages)(join(source, name));
      const quick = await hash(false);
      expect(Buffer.from(quick.out.digests)).toEqual(contentOf(link.bytes));
      expect(quick.bytes).toBeLessThan(LEAF_BYTES + SLACK);
    }
    expect((await hash(true)).bytes).toBeGreaterThan(BYTES);
    expect(volumes.kept.clones.count).toBe(0);
  });

  test('of 70 files 64 versions are kept; one goes with its file, and all when their space is needed', async () => {
    const volumes = new Volumes(newFolder());
    const {kept, sourceHandlers} = volumes;
    const link = await new Link(volumes).ready();
    const bytes = randomBytes(4 << 20);
    for (let index = 0; index < 70; index++)
      await link.send({name: `file${index}`, bytes, transfer: 1_000 + index}, undefined);
    expect([kept.versions.count, sourceHandlers.isHolding(), sourceHandlers.isCaching?.()]).toEqual([64, false, true]);
    const jobs = runHere(sourceHandlers.handlers);
    truncateSync(join(link.source, 'file69'), 0);
    writeFileSync(join(link.source, 'new'), 'x');
    expect(await jobs.run('tend-kept', {reserveShare: 0.05})).toEqual({keptCount: 63});
    expect(await jobs.run('tend-kept', {reserveShare: 1})).toEqual({keptCount: 0});
    expect([kept.clones.count, sourceHandlers.isCaching?.()]).toEqual([0, false]);
  });

  test('elsewhere than on XFS and btrfs it says that it can do nothing, and the file is sent', async () => {
    const link = await new Link(new Volumes()).ready();
    await link.put();
    await link.put(writePages(link.bytes, [3]));
    expect(link.refusedCount).toBe(2);
  });
});
