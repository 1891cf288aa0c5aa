import {execFileSync} from 'node:child_process';
import {chownSync, existsSync, mkdirSync, rmdirSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {access} from 'node:fs/promises';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {Jail} from '../../../src/linux/jail.ts';
import {openDirAt} from '../../../src/linux/directories.ts';
import {closeFd, holdAt, openDirPath} from '../../../src/linux/open-fd.ts';
import {codeOf} from './code-of.ts';
import {jailed, type Seen} from './jailed.ts';
import {held, isRoot, makeFolder, type Folder} from './folder.ts';
import {needsRoot} from '../../needs.ts';

const rootTest = needsRoot(test);

const NOTHING = {host: false, inside: 'ENOENT', absoluteLink: 'ENOENT', outwardLink: 'ENOENT', names: 0, proc: false};

/** A volume with a link to the host, and a folder to rest in that has no name any more. */
function makeRoot(folder: Folder): {path: string; restingFd: number} {
  const path = join(folder.path, 'volume');
  mkdirSync(path);
  mkdirSync(join(folder.path, 'rest'));
  const restingFd = held(holdAt(folder.fd, 'rest'));
  rmdirSync(join(folder.path, 'rest'));
  return {path, restingFd};
}

function fill(path: string): void {
  writeFileSync(join(path, 'inside'), 'volume');
  symlinkSync('/etc/passwd', join(path, 'link'));
  symlinkSync('../../../../../../etc/passwd', join(path, 'outward'));
}

rootTest('a jailed thread sees its volume alone, and the main thread and its pool the host', async () => {
  const folder = makeFolder();
  const {path, restingFd} = makeRoot(folder);
  fill(path);
  const umaskBefore = process.umask();
  const {seen, end} = await jailed(held(openDirAt(folder.fd, 'volume')), restingFd, async () => {
    expect(existsSync('/etc/passwd')).toBe(true);
    await access('/etc/passwd');
    expect(existsSync(join(path, 'inside'))).toBe(true);
  });
  await end();
  expect(seen).toMatchObject({isActive: true, resting: NOTHING, after: NOTHING, failed: 'JOB'});
  expect(seen.inside).toEqual({...NOTHING, inside: 'none', names: 3, read: 'volume'});
  expect(seen.refusals).toEqual({nested: 'BUG', asynchronous: 'BUG', closedRoot: 'EBADF'});
  expect(statSync(join(path, 'made')).mode & 0o777).toBe(0o666); // umask 0 in there
  expect(process.umask()).toBe(umaskBefore);
});

rootTest('a resting thread does not keep its volume from being unmounted', async () => {
  const folder = makeFolder();
  const {path, restingFd} = makeRoot(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'towline-test', path]);
  onTestFinished(() => void codeOf(() => execFileSync('umount', ['-l', path], {stdio: 'ignore'})));
  fill(path);
  const rootFd = openDirPath(path);
  const umount = (): string => codeOf(() => execFileSync('umount', [path], {stdio: 'ignore'}));
  let wasBusy = false;
  const {end} = await jailed(rootFd, restingFd, () => {
    wasBusy = umount() !== 'none';
    return Promise.resolve();
  });
  closeFd(rootFd);
  expect([wasBusy, umount()]).toEqual([true, 'none']);
  await end();
});

test('the main thread is never jailed', () => {
  const {fd} = makeFolder();
  expect(codeOf(() => new Jail(fd))).toBe('BUG');
});

test('without the right to chroot jobs run behind the first wall alone, and other calls find their second ways', () => {
  const folder = makeFolder();
  writeFileSync(join(folder.path, 'inside'), 'volume');
  writeFileSync(join(folder.path, 'foreign'), '', {mode: 0o644});
  if (isRoot) chownSync(join(folder.path, 'foreign'), 5, 5);
  const withoutRights = isRoot ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : [];
  const script = join(import.meta.dirname, 'without-rights.ts');
  const [command, ...args] = [...withoutRights, process.execPath, script, folder.path];
  const told = JSON.parse(execFileSync(command, args, {encoding: 'utf8'})) as {seen: Seen};
  expect(told).toMatchObject({
    seen: {isActive: false, inside: {host: true}, failed: 'JOB', refusals: {nested: 'BUG', asynchronous: 'BUG'}},
    linked: 'none',
    chmod: 'none',
    noatime: 'none',
  });
  expect(statSync(join(folder.path, 'linked')).mode & 0o777).toBe(0o640);
});
