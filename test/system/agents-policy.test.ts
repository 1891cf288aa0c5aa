/** What a receiving agent accepts, what a sending one maps, and how that is told; taken up by reload, for each link. */
import {chownSync, existsSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {Problem} from '../../src/model/problem.ts';
import type {TestAgent, VolumeSettings} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {needsCommands, needsRoot} from '../needs.ts';
import {command} from '../sync/harness.ts';

const hostsDescribe = needsHosts(needsRoot(needsCommands('setfacl', 'setfattr', 'mknod')(describe)));

hostsDescribe('policies of two agents', {timeout: 120_000}, () => {
  let source: TestAgent;
  let target: TestAgent;

  beforeAll(async () => {
    ({source, target} = makeAgents({source: {listens: false}, target: {}}));
    await pair(source, target);
    await startAll(source, target);
  });
  afterAll(() => stopAll(source, target));

  async function configure(name: string, send: VolumeSettings['send'], receive: Record<string, object>): Promise<void> {
    source.configure({volumes: {[name]: {at: source.volume(name), send: send ?? ['target']}}});
    const volumes = Object.entries(receive).map(([copy, more]) => [
      copy,
      {at: target.volume(copy), receive: 'source', ...more},
    ]);
    target.configure({volumes: Object.fromEntries(volumes) as Record<string, VolumeSettings>});
    await target.reload();
    await source.reload();
  }

  /** The problems of a volume's links, by `as` of the link. */
  async function problemsOf(name: string): Promise<string[]> {
    const lines = (await source.command(['pending', name, '--json'])).stdout.trim().split('\n');
    const events = lines.map((line) => JSON.parse(line) as {event: string} & Pick<Problem, 'message'>);
    return events.filter(({event}) => event === 'problem').map(({message}) => message);
  }

  const stateOf = async (name: string, as: string): Promise<string> =>
    (await source.volumeReport(name)).links.find(({peerVolume}) => peerVolume === as)?.state ?? '';
  const settled = (name: string, as: string, state: string): Promise<void> =>
    source.until(`${name} to ${as} is ${state}`, async () => (await stateOf(name, as)) === state, 30_000);
  const owner = (path: string): string => command('stat', '-c', '%u:%g', path).trim();

  test('G7 a device and a setuid bit are refused or let in by accept, taken up by reload, and told on the source', async () => {
    await configure('nodes', undefined, {nodes: {accept: {setuid: false}}});
    const [from, to] = [source.volume('nodes'), target.volume('nodes')];
    writeFileSync(join(from, 'tool'), 'x');
    command('chmod', '4755', join(from, 'tool'));
    command('mkfifo', join(from, 'pipe'));
    command('mknod', join(from, 'null'), 'c', '1', '3');
    await settled('nodes', 'nodes', 'problems');
    await source.until('both are told', async () => (await problemsOf('nodes')).length === 2);
    const [devices, setuid] = await problemsOf('nodes');
    expect(devices).toBe(
      '1 device is not carried (null): the receiver does not accept that; set accept: {devices: true} at volume nodes on target',
    );
    expect(setuid).toContain('1 file arrives without its setuid or setgid bit (tool)');
    expect(existsSync(join(to, 'null'))).toBe(false);
    expect(command('stat', '-c', '%a %F', join(to, 'tool'), join(to, 'pipe')).split('\n')).toEqual([
      '755 regular file',
      '644 fifo',
      '',
    ]);
    await configure('nodes', undefined, {nodes: {accept: {setuid: true, devices: true}}});
    await untilInSync(source, 'nodes', 30_000);
    expect(await problemsOf('nodes')).toEqual([]);
    expect(command('stat', '-c', '%t:%T', join(to, 'null')).trim()).toBe('1:3');
    expect(command('stat', '-c', '%a', join(to, 'tool')).trim()).toBe('4755');
  });

  test('G7 two links of one volume with other policies: each has its own view, live and after a restart', async () => {
    const send = [
      {to: 'target', as: 'all'},
      {to: 'target', as: 'plain'},
      {to: 'target', as: 'skipped', special: 'skip'},
    ];
    const receive = {all: {accept: {devices: true}}, plain: {accept: {xattrs: ['acl']}}, skipped: {}};
    const from = source.volume('shared');
    writeFileSync(join(from, 'file'), 'x');
    command('setfattr', '-n', 'user.a', '-v', '1', join(from, 'file'));
    command('mknod', join(from, 'null'), 'c', '1', '3');
    command('mkfifo', join(from, 'pipe'));
    await configure('shared', send, receive);
    const check = async (device: string): Promise<void> => {
      await settled('shared', 'all', 'in-sync');
      await settled('shared', 'plain', 'problems');
      await settled('shared', 'skipped', 'in-sync');
      await source.until('what is left out is told', async () => (await problemsOf('shared')).length === 2);
      expect(existsSync(join(target.volume('all'), device))).toBe(true);
      expect(existsSync(join(target.volume('plain'), device))).toBe(false);
      expect(existsSync(join(target.volume('plain'), 'pipe'))).toBe(true);
      expect(existsSync(join(target.volume('skipped'), 'pipe'))).toBe(false);
      const names = ['all', 'plain', 'skipped'].map((copy) => command('getfattr', join(target.volume(copy), 'file')));
      expect(names.map((shown) => shown.includes('user.a'))).toEqual([true, false, true]);
    };
    await check('null');
    command('mknod', join(from, 'zero'), 'c', '1', '5');
    writeFileSync(join(from, 'live'), 'live');
    await target.until('it arrives', () =>
      ['all', 'plain', 'skipped'].every((copy) => existsSync(join(target.volume(copy), 'live'))),
    );
    await check('zero');
    await source.stop();
    rmSync(join(from, 'null'));
    await source.start();
    await target.until('the device is gone', () => !existsSync(join(target.volume('all'), 'null')), 30_000);
    await check('zero');
  });

  test('G2 ids are mapped for one link and not for another, in ACLs too, live', async () => {
    const from = source.volume('owned');
    writeFileSync(join(from, 'www'), 'x');
    chownSync(join(from, 'www'), 33, 4242);
    command('setfacl', '-m', 'u:33:rw', join(from, 'www'));
    const send = [
      {to: 'target', as: 'same'},
      {to: 'target', as: 'mapped', ids: {'0-999': 100_000, '4242': 7}},
    ];
    await configure('owned', send, {same: {}, mapped: {}});
    await settled('owned', 'same', 'in-sync');
    await settled('owned', 'mapped', 'in-sync');
    expect(owner(join(target.volume('same'), 'www'))).toBe('33:4242');
    expect(owner(join(target.volume('mapped'), 'www'))).toBe('100033:7');
    expect(command('getfacl', '-n', '-p', join(target.volume('mapped'), 'www'))).toContain('user:100033:rw-');
    chownSync(join(from, 'www'), 34, 999);
    await target.until('the new owner arrives', () => owner(join(target.volume('mapped'), 'www')) === '100034:100999');
    await target.until('on both', () => owner(join(target.volume('same'), 'www')) === '34:999');
  });

  test('G2 accept: {owners: none} gives all to the agent’s user, and lists what that changes', async () => {
    const from = source.volume('anyone');
    for (const [name, uid] of [
      ['a', 0],
      ['b', 33],
    ] as const) {
      writeFileSync(join(from, name), name);
      chownSync(join(from, name), uid, uid);
    }
    await configure('anyone', undefined, {anyone: {accept: {owners: 'none'}}});
    await settled('anyone', 'anyone', 'problems');
    expect(await problemsOf('anyone')).toEqual([
      '1 entry does not get its owner (b): the receiver does not accept that; set accept: {owners: any} at volume anyone on target',
    ]);
    expect(owner(join(target.volume('anyone'), 'b'))).toBe('0:0');
    chownSync(join(from, 'b'), 0, 0);
    await settled('anyone', 'anyone', 'in-sync');
  });

  test('sync SRC PEER:VOLUME takes the sender’s options', async () => {
    target.configure({volumes: {once: {at: target.volume('once'), receive: 'source'}}});
    await target.reload();
    const from = source.volume('loose');
    writeFileSync(join(from, 'file'), 'x');
    command('mkfifo', join(from, 'pipe'));
    const args = ['--once', '--special', 'skip', '--ids', '0-9:500'];
    const {exitCode, stderr, stdout} = await source.command(['sync', from, 'target:once', ...args]);
    expect(`${exitCode} ${stderr}`, stdout).toBe('0 ');
    expect(owner(join(target.volume('once'), 'file'))).toBe('500:500');
    expect(existsSync(join(target.volume('once'), 'pipe'))).toBe(false);
    const refused = await source.command(['sync', from, 'target:once', '--once', '--devices']);
    expect({exitCode: refused.exitCode, stderr: refused.stderr}).toEqual({
      exitCode: 2,
      stderr: expect.stringContaining("--devices does not go with a peer's volume") as string,
    });
  });
});
