import {spawnSync} from 'node:child_process';
import {existsSync, mkdirSync, mkdtempSync, realpathSync, utimesSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {needsRoot} from './needs.ts';
import {makeRunFolder, mountsBelow, removeRunFolders, removeTree} from './run-folders.ts';
import {makeTmpDir} from './tmp.ts';

const HOUR_AND_MORE_S = 3_700;

/** A folder as a run with this process ID leaves it, `ageS` seconds old. */
function leaveFolder(pid: number, ageS: number): string {
  const path = mkdtempSync(join(realpathSync(tmpdir()), `towline-test-${pid}-`));
  mkdirSync(join(path, 'mnt'));
  const time = Date.now() / 1000 - ageS;
  utimesSync(path, time, time);
  return path;
}

test('folders of a run that ended an hour ago are removed; those of younger and living runs stay', () => {
  const {pid: deadPid} = spawnSync('true');
  const [old, young, living] = [
    leaveFolder(deadPid, HOUR_AND_MORE_S),
    leaveFolder(deadPid, 60),
    leaveFolder(process.ppid, HOUR_AND_MORE_S),
  ];
  removeRunFolders('dead-runs');
  expect([old, young, living].map((path) => existsSync(path))).toEqual([false, true, true]);
  removeTree(young);
  removeTree(living);
});

needsRoot(test)('what a killed run has mounted is unmounted before its folder is removed', () => {
  const {pid: deadPid} = spawnSync('true');
  const folder = leaveFolder(deadPid, 0);
  const mountPoint = join(folder, 'mnt');
  expect(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', mountPoint]).status).toBe(0);
  expect(mountsBelow(folder)).toEqual([mountPoint]);
  utimesSync(folder, 0, 0);
  removeRunFolders('dead-runs');
  expect(mountsBelow(folder)).toEqual([]);
  expect(existsSync(folder)).toBe(false);
});

test('removes a tree of 25 levels of 200 bytes (longer than PATH_MAX) and a folder without rights', () => {
  const folder = makeRunFolder();
  const script =
    'cd "$1" && name=$(printf %0200d 0) && for i in $(seq 25); do mkdir $name && cd -P $name; done; cd "$1"; mkdir -m 0 locked';
  expect(spawnSync('sh', ['-c', script, 'sh', folder]).status).toBe(0);
  removeTree(folder);
  expect(existsSync(folder)).toBe(false);
});

let earlier = '';
test('a folder of a test is there during the test', () => {
  earlier = makeTmpDir();
  expect(existsSync(earlier)).toBe(true);
});
test('and gone after it', () => {
  expect(earlier).not.toBe('');
  expect(existsSync(earlier)).toBe(false);
});
