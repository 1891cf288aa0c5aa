import {chmodSync, chownSync, existsSync, lstatSync, mkdirSync, symlinkSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {findPlaces} from '../../../src/volume/places.ts';
import {needsLoopMounts, needsRoot} from '../../needs.ts';
import {command} from '../../sync/harness.ts';
import {makeTmpDir} from '../../tmp.ts';

function makeVolume(base = makeTmpDir()) {
  const beside = join(base, 'volumes/data');
  const root = join(beside, '_data');
  const state = join(base, 'state');
  mkdirSync(root, {recursive: true});
  mkdirSync(state);
  const find = (folder: string | undefined = beside) => {
    const fd = openDirPath(root);
    try {
      return findPlaces(fd, root, state, folder);
    } finally {
      closeFd(fd);
    }
  };
  const inState = {staging: join(state, 'staging'), trash: join(state, 'trash'), isInRoot: false};
  return {beside, root, state, find, inState};
}

const modeOf = (path: string): number => lstatSync(path).mode & 0o7777;

describe('staging beside the data folder of an engine’s volume', () => {
  test('goes before the state folder, private, and is found again', () => {
    const {beside, root, state, find} = makeVolume();
    const places = find();
    const own = join(beside, '.towline');
    expect(places).toEqual({staging: join(own, 'staging'), trash: join(own, 'trash'), isInRoot: false});
    expect([own, places.staging, places.trash].map(modeOf)).toEqual([0o700, 0o700, 0o700]);
    expect(find()).toEqual(places);
    expect(existsSync(join(root, '.towline'))).toBe(false);
    expect(existsSync(join(state, 'staging'))).toBe(false);
  });

  test('is not used where no engine names it, or where it does not hold this root', () => {
    const {find, inState, beside} = makeVolume();
    const other = makeVolume();
    expect(find(other.beside)).toEqual(inState);
    expect(find(join(beside, 'none'))).toEqual(inState);
    expect(existsSync(join(other.beside, '.towline'))).toBe(false);
  });

  test('is passed over, untouched, when a link or a folder of others stands there', () => {
    const linked = makeVolume();
    const elsewhere = makeTmpDir();
    symlinkSync(elsewhere, join(linked.beside, '.towline'));
    expect(linked.find()).toEqual(linked.inState);
    expect(existsSync(join(elsewhere, 'staging'))).toBe(false);
    const open = makeVolume();
    mkdirSync(join(open.beside, '.towline'));
    chmodSync(join(open.beside, '.towline'), 0o755);
    expect(open.find()).toEqual(open.inState);
    expect(existsSync(join(open.beside, '.towline/staging'))).toBe(false);
  });

  test('is passed over where others may write', () => {
    const {beside, find, inState} = makeVolume();
    chmodSync(beside, 0o777);
    expect(find()).toEqual(inState);
    expect(existsSync(join(beside, '.towline'))).toBe(false);
  });

  needsRoot(test)('is passed over where the folder belongs to another user', () => {
    const {beside, find, inState} = makeVolume();
    chownSync(beside, 100_000, 100_000);
    expect(find()).toEqual(inState);
  });

  needsLoopMounts(test)('is passed over where something is mounted on the data folder', () => {
    const {root, find, beside} = makeVolume();
    command('mount', '-t', 'tmpfs', 'tmpfs', root);
    onTestFinished(() => void command('umount', root));
    const own = join(root, '.towline');
    expect(find()).toEqual({staging: join(own, 'staging'), trash: join(own, 'trash'), isInRoot: true});
    expect(existsSync(join(beside, '.towline'))).toBe(false);
  });
});
