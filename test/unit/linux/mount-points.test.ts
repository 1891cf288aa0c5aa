/** What is mounted below a held directory is not opened and not changed by its name: EXDEV, whatever the call. */
import {execFileSync} from 'node:child_process';
import {constants, lstatSync, mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {readAttrsAt} from '../../../src/linux/attrs.ts';
import {openDirAt} from '../../../src/linux/directories.ts';
import {openRegular, openRegularToWrite} from '../../../src/linux/files.ts';
import {holdAt, openAt} from '../../../src/linux/open-fd.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import {needsRoot} from '../../needs.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder} from './folder.ts';

/** A volume with `dir` and `file`, on each of which its like of the folder outside is mounted. */
function makeVolume(): {volumeFd: number; outside: string} {
  const {path, fd} = makeFolder();
  for (const side of ['volume', 'outside']) {
    mkdirSync(join(path, side, 'dir'), {recursive: true});
    writeFileSync(join(path, side, 'file'), side);
  }
  for (const name of ['dir', 'file']) {
    const point = join(path, 'volume', name);
    execFileSync('mount', ['--bind', join(path, 'outside', name), point]);
    onTestFinished(() => void execFileSync('umount', [point]));
  }
  return {volumeFd: held(openDirAt(fd, 'volume')), outside: join(path, 'outside')};
}

function look(folder: string): string[] {
  return ['dir', 'file'].map((name) => {
    const {mode, uid, gid, mtimeNs, ctimeNs} = lstatSync(join(folder, name), {bigint: true});
    return [name, mode, uid, gid, mtimeNs, ctimeNs].join(' ');
  });
}

const CALLS: [string, (dirFd: number, name: string) => unknown][] = [
  ['opened', (dirFd, name) => openAt(dirFd, name, constants.O_RDONLY)],
  ['held', holdAt],
  ['opened as a regular file', (dirFd, name) => openRegular(dirFd, name)],
  ['opened to write', (dirFd, name) => openRegularToWrite(dirFd, name, constants.O_WRONLY | constants.O_TRUNC, 0o600)],
];

needsRoot(test).each(CALLS)('I1 a folder and a file that others are mounted on are not %s', (_, call) => {
  const {volumeFd, outside} = makeVolume();
  const before = look(outside);
  expect(codeOf(() => call(volumeFd, 'dir'))).toBe('EXDEV');
  expect(codeOf(() => call(volumeFd, 'file'))).toBe('EXDEV');
  expect(look(outside)).toEqual(before);
});

needsRoot(test)('I1 attributes of what is mounted there are not read', () => {
  const {volumeFd, outside} = makeVolume();
  execFileSync('setfattr', ['-n', 'user.secret', '-v', '1', join(outside, 'file')]);
  expect(readAttrsAt(volumeFd, 'file')).toBe(NO_ATTRS);
});
