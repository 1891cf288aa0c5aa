/** Guards between two agents: what halts, on which side, who lets it go on; roots that go and come; another key. */
import {existsSync, mkdirSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command} from '../sync/harness.ts';

const FILES = 100;

const hostsDescribe = needsHosts(needsLoopMounts(needsCommands('setfattr')(describe)));

hostsDescribe('guards of two agents', {timeout: 120_000}, () => {
  let source: TestAgent;
  let target: TestAgent;

  beforeAll(async () => {
    ({source, target} = makeAgents({source: {listens: false}, target: {}}));
    await pair(source, target);
    await startAll(source, target);
  });
  afterAll(() => stopAll(source, target));

  /** A volume of its own for each test, filled and in sync. */
  async function inSync(name: string, at: {source?: string; target?: string; guard?: object} = {}): Promise<Copy> {
    const copy = {source: at.source ?? source.volume(name), target: at.target ?? target.volume(name)};
    for (let file = 0; file < FILES; file++) writeFileSync(join(copy.source, `f${file}`), `${file}`);
    const guard = at.guard === undefined ? {} : {guard: at.guard};
    source.configure({volumes: {[name]: {at: copy.source, send: ['target']}}});
    target.configure({volumes: {[name]: {at: copy.target, receive: 'source', ...guard}}});
    await target.reload();
    await source.reload();
    await untilInSync(source, name, 30_000);
    return copy;
  }

  interface Copy {
    source: string;
    target: string;
  }

  const halted = async (agent: TestAgent, volume: string, peer: TestAgent): Promise<string> => {
    await agent.until('halts', async () => (await agent.link(volume, peer.name)).state === 'halted', 30_000);
    return (await agent.link(volume, peer.name)).reason ?? '';
  };
  const confirm = (agent: TestAgent, volume: string, count: number) =>
    agent.command(['confirm', volume, '--yes', String(count)]);
  const countIn = (folder: string): number => readdirSync(folder).filter((name) => name.startsWith('f')).length;

  test('F5 51 of 100 deleted live: at most 20 go, into the trash; the printed count, confirmed on the source, goes on', async () => {
    const copy = await inSync('share');
    for (let file = 0; file < 51; file++) rmSync(join(copy.source, `f${file}`));
    expect(await halted(source, 'share', target)).toContain('51');
    expect(countIn(copy.target)).toBeGreaterThanOrEqual(FILES - 20);
    expect((await confirm(source, 'share', 50)).exitCode).toBe(8);
    expect((await confirm(source, 'share', 51)).exitCode).toBe(0);
    await untilInSync(source, 'share', 30_000);
    expect(countIn(copy.target)).toBe(FILES - 51);
    const trash = await target.must('trash', 'list', 'share', '--json');
    expect(trash.split('\n').filter((line) => line.includes('"deleted"')).length).toBe(51);
  });

  test('F5 a target with stricter limits halts by itself, and goes on when it is confirmed there', async () => {
    const copy = await inSync('strict', {guard: {'delete-count': 10, 'share-from': 5}});
    // At once: what goes one by one is halted at the first that is too much, and then again at the rest.
    await source.pause('strict');
    for (let file = 0; file < 15; file++) rmSync(join(copy.source, `f${file}`));
    const filledMs = Date.now(); // what is younger than a burst does not count
    await target.until('files are old', () => Date.now() - filledMs > 1_500);
    await source.resume('strict');
    await halted(target, 'strict', source);
    expect(await halted(source, 'strict', target)).toContain('target');
    const {halt} = await target.link('strict', 'source');
    expect((await confirm(target, 'strict', halt?.count ?? 0)).exitCode).toBe(0);
    await untilInSync(source, 'strict', 30_000);
    expect(countIn(copy.target)).toBe(FILES - 15);
  });

  test('F2 F3 a source that is unmounted halts with nothing deleted, and goes on by itself when it is back', async () => {
    const disk = makeLoopFilesystem('ext4', 16);
    const root = join(disk.path, 'data');
    mkdirSync(root);
    const copy = await inSync('disk', {source: root});
    disk.umount();
    expect(await halted(source, 'disk', target)).toContain(root);
    expect(countIn(copy.target)).toBe(FILES);
    disk.mount();
    writeFileSync(join(root, 'fresh'), 'after the mount');
    await untilInSync(source, 'disk', 30_000);
    await source.stop();
    disk.destroy();
    await source.start();
  });

  test('F14 a target that is unmounted halts, nothing is written below it, and it goes on when it is back', async () => {
    const disk = makeLoopFilesystem('ext4', 16);
    const copy = await inSync('away', {target: disk.path});
    disk.umount();
    writeFileSync(join(copy.source, 'meanwhile'), 'x');
    await halted(target, 'away', source);
    expect(readdirSync(disk.path)).toEqual([]);
    disk.mount();
    await untilInSync(source, 'away', 30_000);
    expect(existsSync(join(disk.path, 'meanwhile'))).toBe(true);
    await target.stop();
    disk.destroy();
    await target.start();
  });

  test('F4 a root without its mark, and one with another’s, halt; the message names both', async () => {
    const copy = await inSync('mark');
    const mark = command('getfattr', '--only-values', '-e', 'hex', '-n', 'trusted.towline.volume', copy.source);
    expect(mark).not.toBe('');
    await source.stop();
    command('setfattr', '-n', 'trusted.towline.volume', '-v', `0x${'ab'.repeat(16)}`, copy.source);
    await source.start();
    const reason = await halted(source, 'mark', target);
    expect(reason).toContain('ab'.repeat(16));
    expect(countIn(copy.target)).toBe(FILES);
    expect((await confirm(source, 'mark', 0)).exitCode).toBe(0);
    await untilInSync(source, 'mark', 30_000);
  });

  test('F15 a marked root copied with cp -a is recognised as a clone and halts', async () => {
    const copy = await inSync('clone');
    const clone = join(source.folder, 'clone-of-it');
    command('cp', '-a', copy.source, clone);
    rmSync(join(clone, 'f1'));
    source.configure({volumes: {clone: {at: clone, send: ['target']}}});
    await source.reload();
    expect(await halted(source, 'clone', target)).toMatch(/copy|moved/);
    expect(countIn(copy.target)).toBe(FILES);
  });

  test('I4 a rotated key: both go on with the new one, and the old one is not let in any more', async () => {
    const copy = await inSync('rotated');
    const old = await source.id();
    const kept = join(source.folder, 'old-identity');
    command('cp', '-a', join(source.stateFolder, 'identity.json'), kept);
    expect(await source.must('peer', 'rotate')).toContain('new ID');
    await source.stop();
    await source.start();
    writeFileSync(join(copy.source, 'after'), 'x');
    await untilInSync(source, 'rotated', 30_000);
    expect(await source.id()).not.toBe(old);
    await source.stop();
    command('cp', '-a', kept, join(source.stateFolder, 'identity.json'));
    await source.start();
    await source.until(
      'is refused',
      async () => /not let in|does not know|refus/i.test((await source.report()).peers[0]?.reason ?? ''),
      20_000,
    );
  });
});
