/** Extended attributes, ACLs, capabilities and special files arrive, change and go; rsync and getfattr are the judges. */
import {spawnSync} from 'node:child_process';
import {linkSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts, needsRoot} from '../../needs.ts';
import {command, makePair, startLive, syncOnce, type Pair} from '../../sync/harness.ts';
import {untilEqual} from '../../sync/live.ts';

const faithfulTest = needsRoot(needsCommands('rsync', 'setfattr', 'setfacl', 'setcap')(test));

/** What rsync finds different, and what getfattr shows of each side that the other lacks. */
function differences({source, target}: Pair): string {
  const ours = ['--filter=-x trusted.towline.*', '--exclude=/.towline', '--exclude=/.last-change'];
  const flags = ['-aHAXSn', '--checksum', '-i', '--delete', '--modify-window=-1', ...ours];
  return (
    command('rsync', ...flags, `${source}/`, `${target}/`) + (dumpOf(source) === dumpOf(target) ? '' : 'attributes')
  );
}

function dumpOf(folder: string): string {
  const {stdout} = spawnSync('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const files = stdout.split('\n\n').filter((each) => !each.startsWith('# file: .\n') && !each.includes('.towline'));
  return files.toSorted().join('\n');
}

/** A file, folder, symlink, FIFO and socket with every class of attributes, and hard links of each that can have them. */
function makeTree(root: string): void {
  const at = (name: string): string => join(root, name);
  mkdirSync(at('dir/below'), {recursive: true});
  for (const name of ['file', 'dir/tool', 'acl', 'plain']) writeFileSync(at(name), name);
  symlinkSync('file', at('link'));
  command('mkfifo', '-m', '0620', at('pipe'));
  command('python3', '-c', 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])', at('socket'));
  for (const name of ['file', 'dir', 'dir/below']) command('setfattr', '-n', 'user.note', '-v', `of ${name}`, at(name));
  for (const name of ['file', 'dir', 'link', 'pipe', 'socket'])
    command('setfattr', '-h', '-n', 'trusted.mark', '-v', `0x00ff${Buffer.from(name).toString('hex')}`, at(name));
  command('setfattr', '-n', 'user.empty', at('file'));
  command('setcap', 'cap_net_raw+ep', at('dir/tool'));
  command('setfacl', '-m', 'u:12345:rw,g:54321:r', at('acl'), at('pipe'));
  command('setfacl', '-d', '-m', 'u:777:rwx', at('dir'));
  writeFileSync(at('dir/inherits'), 'an ACL from its folder');
  mkdirSync(at('dir/inherits too'));
  for (const name of ['link', 'pipe', 'socket', 'file']) linkSync(at(name), at(`dir/${name} again`));
}

/** All of it is changed or taken away. */
function changeTree(root: string): void {
  const at = (name: string): string => join(root, name);
  command('setfattr', '-n', 'user.note', '-v', 'changed', at('file'));
  command('setfattr', '-x', 'user.empty', at('file'));
  command('setfattr', '-x', 'user.note', at('dir'));
  command('setfattr', '-h', '-x', 'trusted.mark', at('link'));
  command('setfattr', '-h', '-n', 'trusted.mark', '-v', 'another', at('socket'));
  command('setcap', '-r', at('dir/tool'));
  command('setfacl', '-x', 'u:12345', at('acl'));
  command('setfacl', '-b', at('pipe'));
  command('setfacl', '-k', at('dir'));
  command('setfacl', '-d', '-m', 'g:99:r', at('dir/below'));
  writeFileSync(at('dir/after'), 'no ACL any more');
  unlinkSync(at('dir/link again'));
  unlinkSync(at('plain'));
  command('mkfifo', at('plain'));
  unlinkSync(at('pipe'));
  writeFileSync(at('pipe'), 'a file by now');
  renameSync(at('dir/socket again'), at('moved socket'));
}

describe('everything arrives as it was', () => {
  faithfulTest('G4 G5 G7 in a run, after a change, and once all of it is gone', async () => {
    const pair = makePair();
    makeTree(pair.source);
    expect(await syncOnce(pair)).toMatchObject({exitCode: 0});
    expect(differences(pair)).toBe('');
    changeTree(pair.source);
    const second = await syncOnce(pair);
    expect(second.exitCode).toBe(0);
    expect(differences(pair)).toBe('');
    expect(second.result.stats['contentBytes']).toBe('no ACL any more'.length + 'a file by now'.length);
    const third = await syncOnce(pair);
    expect(third.result.stats).toMatchObject({batches: 0});
  });

  faithfulTest('G4 G7 live, while the source changes', async () => {
    const pair = makePair();
    const live = startLive(pair);
    await untilEqual(live, pair);
    makeTree(pair.source);
    await untilEqual(live, pair);
    expect(differences(pair)).toBe('');
    changeTree(pair.source);
    await untilEqual(live, pair);
    expect(differences(pair)).toBe('');
    // Attributes alone, of things whose own names nothing else touches.
    for (const name of ['dir', 'dir/below', 'link', 'moved socket', 'acl'])
      command('setfattr', '-h', '-n', 'trusted.last', '-v', '1', join(pair.source, name));
    await untilEqual(live, pair);
    expect(differences(pair)).toBe('');
    await live.stop();
  });

  faithfulTest('G4 what a target’s folder gives to new entries is not kept', async () => {
    const pair = makePair();
    mkdirSync(join(pair.source, 'dir/below'), {recursive: true});
    mkdirSync(pair.target);
    command('setfacl', '-d', '-m', 'u:4242:rwx', pair.target);
    for (const name of ['one', 'dir/two', 'dir/below/three']) writeFileSync(join(pair.source, name), name);
    command('mkfifo', join(pair.source, 'dir/pipe'));
    expect(await syncOnce(pair)).toMatchObject({exitCode: 0});
    expect(differences(pair)).toBe('');
  });

  faithfulTest('G4 attributes that are changed on the target are put back', async () => {
    const pair = makePair();
    makeTree(pair.source);
    await syncOnce(pair);
    command('setfattr', '-n', 'user.foreign', '-v', '1', join(pair.target, 'plain'));
    command('setfattr', '-x', 'user.note', join(pair.target, 'dir'));
    command('setfacl', '-m', 'o::rwx', join(pair.target, 'acl'));
    rmSync(join(pair.target, 'pipe'));
    const run = await syncOnce(pair);
    expect(run.exitCode).toBe(0);
    expect(differences(pair)).toBe('');
    expect(run.result.stats['contentBytes']).toBe(0);
    expect(statSync(join(pair.target, 'pipe')).isFIFO()).toBe(true);
  });

  faithfulTest('G5 hard links of symlinks and FIFOs that are taken apart, and joined to others', async () => {
    const pair = makePair();
    const at = (name: string): string => join(pair.source, name);
    for (const name of ['a', 'b']) symlinkSync('to', at(name));
    linkSync(at('a'), at('c'));
    command('mkfifo', at('p'));
    linkSync(at('p'), at('q'));
    await syncOnce(pair);
    expect(differences(pair)).toBe('');
    unlinkSync(at('c'));
    linkSync(at('b'), at('c'));
    unlinkSync(at('q'));
    command('mkfifo', at('q'));
    expect(await syncOnce(pair)).toMatchObject({exitCode: 0});
    expect(differences(pair)).toBe('');
  });

  faithfulTest(
    'G5 a name that leaves its group with the content and other metadata leaves the others as they are',
    async () => {
      const pair = makePair();
      const at = (name: string): string => join(pair.source, name);
      writeFileSync(at('p'), 'hello');
      for (const name of ['q', 'r']) linkSync(at('p'), at(name));
      await syncOnce(pair);
      unlinkSync(at('q'));
      writeFileSync(at('q'), 'hello', {mode: 0o600});
      expect(await syncOnce(pair)).toMatchObject({exitCode: 0});
      expect(differences(pair)).toBe('');
    },
  );

  faithfulTest(
    'G4 J10 attributes that somebody gave to what is renamed, linked or written beside are found',
    async () => {
      const pair = makePair();
      const [ours, theirs] = [(name: string) => join(pair.source, name), (name: string) => join(pair.target, name)];
      for (const name of ['d/dir', 'd/mvd']) mkdirSync(ours(name), {recursive: true});
      for (const name of ['d/file', 'd/ren', 'd/dir/f']) writeFileSync(ours(name), name);
      await syncOnce(pair);
      for (const name of ['d/file', 'd/ren', 'd/mvd', 'd/dir'])
        command('setfattr', '-n', 'user.drift', '-v', 'yes', theirs(name));
      linkSync(ours('d/file'), ours('d/file2'));
      renameSync(ours('d/ren'), ours('d/ren2'));
      renameSync(ours('d/mvd'), ours('d/mvd2'));
      writeFileSync(ours('d/dir/f'), 'another');
      expect(await syncOnce(pair)).toMatchObject({exitCode: 0});
      expect(differences(pair)).toBe('');
    },
  );

  needsLoopMounts(faithfulTest)(
    'G4 on XFS: 60,000 bytes of one attribute arrive, 180,000 on one entry are told in every run',
    async () => {
      const pair = makePair('test', makeLoopFilesystem('xfs', 400).path);
      for (const name of ['one', 'all', 'acl']) writeFileSync(join(pair.source, name), name);
      const large = (name: string, attr: string): void => {
        const code = 'import os,sys; os.setxattr(sys.argv[1], sys.argv[2], b"v" * 60000)';
        command('python3', '-c', code, join(pair.source, name), attr);
      };
      large('one', 'user.large');
      command('setfacl', '-m', 'u:12345:rw', join(pair.source, 'acl'));
      expect(await syncOnce(pair)).toMatchObject({exitCode: 0});
      expect(differences(pair)).toBe('');
      for (const attr of ['user.a', 'user.b', 'user.c']) large('all', attr);
      for (const round of [1, 2]) {
        const {exitCode, result} = await syncOnce(pair);
        const problems = result.problems.map(({path, code}) => `${path} ${code}`);
        expect({round, exitCode, problems}).toEqual({round, exitCode: 1, problems: ['all attributes']});
      }
      for (const attr of ['user.a', 'user.b']) command('setfattr', '-x', attr, join(pair.source, 'all'));
      expect(await syncOnce(pair)).toMatchObject({exitCode: 0});
      expect(differences(pair)).toBe('');
      expect((await syncOnce(pair)).result.stats).toMatchObject({batches: 0});
    },
  );

  needsLoopMounts(faithfulTest)(
    'G4 an ACL that the target has no room for does not give its mask to the group',
    async () => {
      const [from, to] = [makeLoopFilesystem('xfs', 400), makeLoopFilesystem('ext4', 32)];
      const pair = {...makePair('test', from.path), target: join(to.path, 'target')};
      writeFileSync(join(pair.source, 'secret'), 'secret', {mode: 0o600});
      const users = Array.from({length: 800}, (_, index) => `u:${20_000 + index}:rw`);
      command('setfacl', '-m', users.join(','), join(pair.source, 'secret'));
      const {exitCode, result} = await syncOnce(pair);
      expect([exitCode, result.problems.map(({path, code}) => `${path} ${code}`)]).toEqual([1, ['secret attributes']]);
      expect(command('stat', '-c', '%a %s', join(pair.target, 'secret'))).toBe('600 6\n');
    },
  );
});
