import {execFileSync} from 'node:child_process';
import {mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {readAttrsAt, readAttrsFd, readAttrsHeld, setAttrsFd, setAttrsHeld} from '../../../src/linux/attrs.ts';
import {makeSpecialAt} from '../../../src/linux/files.ts';
import {holdAt, openAt, openDirPath} from '../../../src/linux/open-fd.ts';
import {ACCESS_ACL, decodeAttrs, encodeAttrs, NO_ATTRS, XATTR_CLASSES} from '../../../src/model/attrs.ts';
import {needsCommands, needsRoot} from '../../needs.ts';
import {held, makeFolder, type Folder} from './folder.ts';

const rootTest = needsRoot(needsCommands('setfattr', 'setfacl')(test));

/** A file, folder, symlink and FIFO. */
function makeEntries(): Folder {
  const folder = makeFolder();
  writeFileSync(join(folder.path, 'file'), 'x');
  mkdirSync(join(folder.path, 'dir'));
  symlinkSync('file', join(folder.path, 'link'));
  makeSpecialAt(folder.fd, 'fifo', 'fifo', 0o600, 0);
  return folder;
}

const TRUSTED = encodeAttrs([{name: 'trusted.a\xff', value: Buffer.from([0, 1, 255])}]);

describe('attributes of an entry', () => {
  test('there are none, which is not an error, also on a filesystem that knows none', () => {
    const {fd} = makeEntries();
    for (const name of ['file', 'dir', 'link', 'fifo']) expect(readAttrsAt(fd, name)).toBe(NO_ATTRS);
    const proc = held(openDirPath('/proc/self'));
    expect([readAttrsAt(proc, 'status'), readAttrsFd(proc)]).toEqual([NO_ATTRS, NO_ATTRS]);
  });

  rootTest.each(['file', 'dir', 'link', 'fifo'])('those of a %s are its own, by name and held', (name) => {
    const {path, fd} = makeEntries();
    expect(setAttrsHeld(held(holdAt(fd, name)), TRUSTED, XATTR_CLASSES)).toEqual([]);
    expect(
      execFileSync('getfattr', ['-h', '-d', '-e', 'hex', '-m', '-', join(path, name)], {encoding: 'latin1'}),
    ).toMatch(/^trusted\.a.*=0x0001ff$/m);
    for (const each of ['file', 'dir', 'link', 'fifo'])
      expect(readAttrsAt(fd, each)).toEqual(each === name ? TRUSTED : NO_ATTRS);
    expect(readAttrsHeld(held(holdAt(fd, name)))).toEqual(TRUSTED);
  });

  rootTest('only the classes that are asked for are changed; the mark of a root and labels of the host never', () => {
    const {path, fd} = makeEntries();
    const at = join(path, 'file');
    for (const name of ['user.old', 'trusted.stays', 'trusted.towline.volume'])
      execFileSync('setfattr', ['-n', name, '-v', '1', at]);
    execFileSync('setfacl', ['-m', 'u:77:r', at]);
    const file = held(openAt(fd, 'file', 0));
    const wanted = encodeAttrs([{name: 'user.new', value: Buffer.from('2')}]);
    expect(setAttrsFd(file, wanted, ['user', 'acl'])).toEqual([]);
    expect(decodeAttrs(readAttrsFd(file)!).map(({name}) => name)).toEqual(['trusted.stays', 'user.new']);
    expect(setAttrsFd(file, NO_ATTRS, XATTR_CLASSES)).toEqual([]);
    const shown = execFileSync('getfattr', ['-d', '-m', '-', at], {encoding: 'utf8'});
    expect(shown.match(/^[a-z]+\..*(?==)/gm)).toEqual(['trusted.towline.volume']);
  });

  rootTest('what cannot be set is told by its name, and the rest is set', () => {
    const {fd} = makeEntries();
    const wanted = encodeAttrs([
      {name: ACCESS_ACL, value: Buffer.from('no ACL')},
      {name: 'trusted.z', value: Buffer.from('set')},
      {name: 'user.of a FIFO', value: Buffer.from('not allowed')},
    ]);
    const fifo = held(holdAt(fd, 'fifo'));
    const failed = setAttrsHeld(fifo, wanted, XATTR_CLASSES).map(({name}) => name);
    expect(failed).toEqual([ACCESS_ACL, 'user.of a FIFO']);
    expect(decodeAttrs(readAttrsHeld(fifo)!).map(({name}) => name)).toEqual(['trusted.z']);
  });
});
