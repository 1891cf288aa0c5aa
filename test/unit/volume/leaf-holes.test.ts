import {openSync, closeSync, ftruncateSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {buildLeaf, NO_BASE} from '../../../src/delta/patch.ts';
import {statFd} from '../../../src/linux/stat.ts';
import {LEAF_BYTES, sha256} from '../../../src/model/digest.ts';
import {LeafFrames} from '../../../src/volume/leaf-frames.ts';
import {holesOf, toldAllocation} from '../../../src/volume/leaf-holes.ts';
import {decode} from '../../../src/wire/codec.ts';
import {makeTmpDir} from '../../tmp.ts';

/** A file with 4 KiB of data at each offset. */
function fileWith(sizeBytes: number, offsets: number[]): number {
  const fd = openSync(join(makeTmpDir(), 'file'), 'w+');
  onTestFinished(() => closeSync(fd));
  ftruncateSync(fd, sizeBytes);
  for (const offset of offsets) writeSync(fd, Buffer.alloc(4096, 'data'), 0, 4096, offset);
  return fd;
}

test('leaves in holes are told in runs, up to the end of the file, and never a leaf with data', () => {
  const sizeBytes = 20 * LEAF_BYTES + 100;
  const fd = fileWith(sizeBytes, [3 * LEAF_BYTES + 8192, 4 * LEAF_BYTES - 4096, 9 * LEAF_BYTES]);
  const stat = statFd(fd);
  const holes = holesOf(fd, stat)!;
  const runs: [leaf: number, bytes: number][] = [];
  for (let leaf = 0; leaf < 21;) {
    const bytes = holes.bytesAt(leaf, 8);
    runs.push([leaf, bytes]);
    leaf += Math.max(1, Math.ceil(bytes / LEAF_BYTES));
  }
  expect(runs).toEqual([
    [0, 3 * LEAF_BYTES],
    [3, 0],
    [4, 5 * LEAF_BYTES],
    [9, 0],
    [10, 8 * LEAF_BYTES],
    [18, 2 * LEAF_BYTES + 100],
  ]);
  expect(holes.bytesAt(1, 1), 'also asked out of order').toBe(LEAF_BYTES);
  expect(toldAllocation(stat, true)).toBe(12_288);
});

test('a file without holes is not asked for any, an empty one has none, one that is nothing else has all', () => {
  const full = fileWith(4096, [0]);
  expect(holesOf(full, statFd(full))).toBeUndefined();
  expect(toldAllocation(statFd(full), false)).toBe(4096);
  const empty = fileWith(0, []);
  expect(holesOf(empty, statFd(empty))).toBeUndefined();
  const hole = fileWith(2 ** 41 + 1, []);
  expect(holesOf(hole, statFd(hole))?.bytesAt(0, Infinity)).toBe(2 ** 41 + 1);
});

test('frames carry leaves and runs in their order; of a leaf with two pages of data, little more than those travels', () => {
  const frames = new LeafFrames({link: 1, transfer: 2}, {isSparse: true});
  const leaf = Buffer.alloc(LEAF_BYTES);
  leaf.fill('first', 8192, 12_288);
  leaf.fill('second', LEAF_BYTES - 4096);
  const tail = Buffer.alloc(5000, 'tail');
  frames.addHoles(3);
  frames.addHoles(2);
  // As a differ cuts it: off the edges of blocks.
  const cuts = [leaf.subarray(0, 100), leaf.subarray(100, 9_000), leaf.subarray(9_000)];
  frames.add(
    sha256(leaf),
    cuts.map((bytes) => ({kind: 'literal', bytes})),
  );
  frames.add(sha256(tail), [{kind: 'literal', bytes: tail}]);
  const packed = frames.take();
  const messages = packed.frames.map((frame) => decode(Buffer.from(frame)));
  expect(messages.map(({kind}) => kind)).toEqual(['file-holes', 'file-leaves']);
  expect(messages[0]).toMatchObject({leafIndexFirst: 0, leafCount: 5});
  const [, sent] = messages;
  if (sent?.kind !== 'file-leaves') throw new Error('no leaves');
  expect(sent.leafIndexFirst).toBe(5);
  const built = Buffer.alloc(LEAF_BYTES, 0xee);
  const opsOf = (index: number) => sent.leaves[index]!.ops.filter((op) => op.kind !== 'kept');
  buildLeaf(opsOf(0), LEAF_BYTES, built, NO_BASE);
  expect(built.equals(leaf)).toBe(true);
  buildLeaf(opsOf(1), tail.length, built, NO_BASE);
  expect(built.subarray(0, tail.length).equals(tail)).toBe(true);
  expect(packed.literalBytes).toBeLessThanOrEqual(4 * 4096 + tail.length);
  expect(frames.leafCount).toBe(7);
  expect(frames.take().frames).toEqual([]);
});
