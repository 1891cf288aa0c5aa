/**
 * Mount points of the host that a container moves about in its volume: it does not have them in its own mount name space,
 * where they are directories like others. What is mounted there is outside.
 */
import {mkdirSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {copyTree} from '../../src/apply/copy-tree.ts';
import {removeTree} from '../../src/apply/remove-tree.ts';
import {isLinuxError} from '../../src/linux/linux-error.ts';
import {openDirPath} from '../../src/linux/open-fd.ts';
import {fromText} from '../../src/model/path.ts';
import {startInContainer} from '../attack/container.ts';
import type {ExchangeOrder} from '../attack/exchanger.ts';
import type {Report} from '../attack/in-container.ts';
import {makeOutside, Witness} from '../attack/outside.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command} from '../sync/harness.ts';

const ROUNDS = 3_000;

/** Runs a job again and again while `tree/mounted` and `tree/plain` are exchanged in a container. @returns what was seen outside */
async function whileSwapped(job: (rootFd: number, root: string) => void): Promise<{seen: string[]; swaps: number}> {
  const disk = makeLoopFilesystem('ext4', 64, 'strictatime');
  const [root, outside] = [join(disk.path, 'volume'), join(disk.path, 'outside')];
  for (const folder of ['', 'tree', 'tree/mounted', 'tree/plain']) mkdirSync(join(root, folder));
  makeOutside(outside, {dirs: ['below'], files: ['file', 'below/file']});
  command('mount', '--bind', outside, join(root, 'tree/mounted'));
  onTestFinished(() => disk.destroy());
  using witness = new Witness(outside);
  const paths: [string, string] = ['/tree/mounted', '/tree/plain'];
  const order = {root, seed: 1, rests: false, paths};
  const attacker = await startInContainer<ExchangeOrder, Report>('exchanger.ts', order);
  const rootFd = openDirPath(fromText(root));
  for (let round = 0; round < ROUNDS; round++) job(rootFd, root);
  const {count} = await attacker.stop();
  return {seen: witness.faults(), swaps: count};
}

const attackTest = needsLoopMounts(needsCommands('unshare', 'setpriv')(test));

attackTest(
  `I1 a tree is copied ${ROUNDS} times while a mount point in it is swapped: nothing of the mount is read`,
  async () => {
    const results = {copied: 0, refused: 0};
    const {seen, swaps} = await whileSwapped((rootFd, root) => {
      try {
        const steps = copyTree({fromFd: rootFd, fromName: 'tree', toFd: rootFd, toName: 'copy'});
        while (steps.next().done !== true);
        results.copied++;
      } catch (error) {
        if (!isLinuxError(error, 'EXDEV')) throw error;
        results.refused++;
      }
      rmSync(join(root, 'copy'), {recursive: true});
    });
    expect(swaps).toBeGreaterThan(ROUNDS);
    expect(results.refused).toBeGreaterThan(0);
    expect(seen).toEqual([]);
  },
);

attackTest(
  `I1 a tree is removed ${ROUNDS} times while a mount point in it is swapped: nothing of the mount goes`,
  async () => {
    const {seen, swaps} = await whileSwapped((rootFd, root) => {
      try {
        removeTree(rootFd, 'tree');
      } catch (error) {
        if (!isLinuxError(error, 'EBUSY', 'ENOTEMPTY', 'ENOTDIR')) throw error;
      }
      for (const name of ['mounted', 'plain']) mkdirSync(join(root, 'tree', name), {recursive: true});
    });
    expect(swaps).toBeGreaterThan(ROUNDS);
    expect(seen).toEqual([]);
  },
);
