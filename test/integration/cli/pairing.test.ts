/**
 * Two agents are set up and paired as an operator does it: the built program, two configurations, two state folders.
 */
import {chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync} from 'node:fs';
import {createServer, type AddressInfo} from 'node:net';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test, vi} from 'vitest';
import {connectControl} from '../../../src/http/control-client.ts';
import {readCode, writeCode} from '../../../src/transport/pairing-code.ts';
import {type JsonEvent, type Run, Running, towline} from '../../sync/harness.ts';
import {makeTmpDir} from '../../tmp.ts';

vi.setConfig({testTimeout: 120_000}); // a process starts in a third of a second on a quiet machine

/** A host with an agent of its own: configuration and state below one folder. */
class Host {
  readonly folder = makeTmpDir();
  readonly config = join(this.folder, 'etc/towline.yaml');
  readonly state = join(this.folder, 'state');

  run(...words: string[]): Promise<Run> {
    return towline([...words, '--config', this.config, '--json']);
  }

  start(...words: string[]): Running {
    return new Running([...words, '--config', this.config, '--json']);
  }

  async init(name: string, listen: string): Promise<string> {
    const run = await towline([
      'init',
      '--config',
      this.config,
      '--state',
      this.state,
      '--name',
      name,
      '--listen',
      listen,
    ]);
    expect(run.exitCode, run.stderr).toBe(0);
    return /^ID ([0-9a-f]{64})$/m.exec(run.stdout)![1]!;
  }

  peerFile(name: string): string {
    return readFileSync(join(this.folder, `etc/peers.d/${name}.yaml`), 'utf8');
  }

  async peers(): Promise<JsonEvent[]> {
    const {events} = await this.run('peer', 'list');
    return events.filter(({event}) => event === 'peer');
  }
}

async function pairOfHosts(): Promise<{a: Host; b: Host; idA: string; idB: string}> {
  const [a, b] = [new Host(), new Host()];
  const [idA, idB] = await Promise.all([a.init('web-1', '127.0.0.1:0'), b.init('db-2', 'none')]);
  return {a, b, idA, idB};
}

async function codeOf(inviting: Running): Promise<string> {
  const {code} = await inviting.waitForEvent(({event}) => event === 'invitation');
  return code as string;
}

test('init, invite in the background, join: both have the other in peers.d, and peer list shows it', async () => {
  const {a, b, idA, idB} = await pairOfHosts();
  expect((await towline(['id', '--config', a.config])).stdout).toBe(`${idA}\n`);
  const inviting = a.start('invite');
  const code = await codeOf(inviting);
  const joined = await b.run('join', code);
  expect(joined.exitCode, joined.stderr).toBe(0);
  expect(joined.events.at(-1)).toMatchObject({
    event: 'result',
    id: idA,
    name: 'web-1',
    address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
  });
  const invited = await inviting.end();
  expect([invited.exitCode, invited.events.at(-1)]).toMatchObject([0, {id: idB, name: 'db-2', address: null}]);

  expect(b.peerFile('web-1')).toContain(`id: ${idA}\naddress: 127.0.0.1:`);
  expect(a.peerFile('db-2')).toMatch(new RegExp(`id: "?${idB}"?\n$`));
  expect(await a.peers()).toMatchObject([{name: 'db-2', id: idB, address: null, connected: null}]);
  const people = await towline(['peer', 'list', '--config', b.config]);
  expect(people.stdout).toMatch(new RegExp(`^PEER .*\nweb-1 +${idA.slice(0, 12)} +127.0.0.1:\\d+ +no agent runs\n$`));

  for (const host of [a, b]) {
    expect(statSync(host.state).mode & 0o777).toBe(0o700);
    expect(statSync(join(host.state, 'identity.json')).mode & 0o777).toBe(0o600);
    expect(statSync(join(host.folder, 'etc/peers.d')).mode & 0o777).toBe(0o700);
    expect((await host.run('config', 'check')).events.at(-1)).toMatchObject({exitCode: 0, peers: 1, volumes: 0});
  }

  const again = await b.run('join', code); // I4: nobody listens for a used code
  expect([again.exitCode, again.events.at(-2)]).toMatchObject([5, {code: 'PEER_LOST'}]);
  expect((await b.run('peer', 'remove', 'web-1')).exitCode).toBe(0);
  expect(readdirSync(join(b.folder, 'etc/peers.d'))).toEqual([]);
  expect((await b.run('peer', 'remove', 'web-1')).exitCode).toBe(2);
});

test('J16 with agents running: paired and connected at once, and cut within a second when it is removed', async () => {
  const {a, b, idA} = await pairOfHosts();
  const agents = [a.start('agent'), b.start('agent')];
  onTestFinished(async () => void (await Promise.all(agents.map((agent) => agent.stop()))));
  for (const {state} of [a, b]) {
    await vi.waitUntil(async () => (await connectControl(state)) !== undefined, {timeout: 20_000, interval: 50});
  }

  const invited = await a.run('invite');
  expect(invited.exitCode, invited.stderr).toBe(0);
  const code = invited.events.find(({event}) => event === 'invitation')!['code'] as string;
  const joined = await b.run('join', code, '--as', 'origin');
  expect(joined.exitCode, joined.stderr).toBe(0);
  await vi.waitUntil(async () => (await b.peers())[0]?.['connected'] === true, {timeout: 20_000, interval: 200});
  expect(await b.peers()).toMatchObject([{name: 'origin', id: idA, dialledBy: 'us'}]);
  expect(await a.peers()).toMatchObject([{name: 'db-2', connected: true, dialledBy: 'peer'}]);

  const other = await b.run('join', code); // I4: the code was used, by another than this key it would be refused
  expect(other.exitCode, other.stderr).toBe(0); // the same agent may ask again
  const stranger = new Host();
  await stranger.init('stranger', 'none');
  expect((await stranger.run('join', code)).exitCode).toBe(8);

  // A volume that names it is no way to keep it: its link is off, and the configuration stays right.
  const volumes = `volumes: {pg: {at: ${makeTmpDir()}, send: [db-2]}}`;
  writeFileSync(a.config, `${readFileSync(a.config, 'utf8')}\n${volumes}\n`);
  const client = (await connectControl(b.state))!;
  const removed = await a.run('peer', 'remove', 'db-2');
  expect([removed.exitCode, removed.events.at(-1)], removed.stderr).toMatchObject([0, {volumes: ['pg']}]);
  const isCut = async (): Promise<boolean> => (await client.report()).peers[0]?.isConnected === false;
  await vi.waitUntil(isCut, {timeout: 1_000, interval: 20});
  const check = await a.run('config', 'check');
  expect(check.events.at(-1)).toMatchObject({
    exitCode: 0,
    peers: 0,
    notices: [expect.stringMatching(/names db-2, which was removed/)],
  });
  expect(await a.peers()).toEqual([]);
});

test('I4 five joins with a wrong secret end the invitation with code 4', async () => {
  const {a, b} = await pairOfHosts();
  const inviting = a.start('invite');
  const wrong = writeCode({...readCode(await codeOf(inviting)), secret: Buffer.alloc(16)});
  for (let count = 1; count <= 5; count++) expect((await b.run('join', wrong)).exitCode).toBe(4);
  const ended = await inviting.end();
  expect(ended.exitCode).toBe(4);
  expect(ended.stderr).toMatch(/! .* tried to join with a wrong code: tries left: 4\n/);
  expect(ended.stderr).toMatch(/Error: too many wrong tries/);
  expect(existsSync(join(a.folder, 'etc/peers.d'))).toBe(false);
});

describe('what is typed wrong, or cannot be done, is one sentence', () => {
  test('Ctrl-C withdraws an invitation with code 130', async () => {
    const {a, b} = await pairOfHosts();
    const inviting = a.start('invite');
    const code = await codeOf(inviting);
    expect((await inviting.stop('SIGINT')).exitCode).toBe(130);
    expect((await b.run('join', code)).exitCode).toBe(5);
  });

  test('an agent that does not listen, a port in use, a mistyped code, the own code', async () => {
    const {a, b} = await pairOfHosts();
    const refused = async (host: Host, words: string[], sentence: RegExp): Promise<void> => {
      const run = await host.run(...words);
      expect([run.exitCode, run.stderr]).toEqual([2, expect.stringMatching(sentence)]);
      expect(run.stderr.split('\n')).toHaveLength(2);
    };
    await refused(b, ['invite'], /does not listen/);
    await refused(b, ['join', 'towline1-abc'], /mistyped or cut/);
    await refused(b, ['join', 'x', '--as', '-'], /invitation code is none/);
    await refused(a, ['invite', '--address', 'a:b'], /"a:b" is not an address/);
    const inviting = a.start('invite');
    const code = await codeOf(inviting);
    await refused(a, ['join', code], /invitation of this very agent/);
    await refused(b, ['join', code, '--as', 'no name'], /no name of a peer/);
    await inviting.stop('SIGTERM');

    const busy = createServer();
    onTestFinished(() => void busy.close());
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve));
    const {port} = busy.address() as AddressInfo;
    writeFileSync(a.config, `agent: {listen: "127.0.0.1:${port}", state: ${a.state}}`);
    await refused(a, ['invite'], /port is in use/);
  });

  test('init leaves what is there, and the key when its configuration is gone', async () => {
    const host = new Host();
    const id = await host.init('a', ':0');
    const before = readFileSync(host.config, 'utf8');
    const again = await towline(['init', '--config', host.config, '--state', host.state]);
    expect([again.exitCode, again.stderr]).toEqual([
      2,
      expect.stringMatching(/is there already and is not overwritten/),
    ]);
    expect(readFileSync(host.config, 'utf8')).toBe(before);
    const other = join(host.folder, 'other.yaml');
    const moved = await towline(['init', '--config', other, '--state', host.state, '--json']);
    expect(moved.result).toMatchObject({exitCode: 0, id});
  });

  test('config check lists every fault, one a line, with code 2; show and schema are read by programs', async () => {
    const host = new Host();
    await host.init('a', 'none');
    const fine = await towline(['config', 'check', '--config', host.config]);
    expect([fine.exitCode, fine.stdout, fine.stderr]).toEqual([0, 'ok: 0 volumes, 0 peers\n', '']);
    writeFileSync(host.config, 'agent: {nmae: a}\nvolumes: {pg: {at: x}}\n');
    const run = await towline(['config', 'check', '--config', host.config]);
    expect([run.exitCode, run.stdout]).toEqual([2, '']);
    expect(run.stderr.replaceAll(host.config, 'F').split('\n')).toEqual([
      'Error: 2 errors in the configuration:',
      expect.stringMatching(/^ {2}F:1:9: agent\.nmae: unknown key "nmae"; did you mean name\?/),
      expect.stringMatching(/^ {2}F:2:20: volumes\.pg\.at: found "x"; allowed is an absolute path/),
      '',
    ]);
    writeFileSync(host.config, 'volumes: {pg: {at: /srv/pg}}\n');
    const shown = await host.run('config', 'show');
    expect(shown.events[0]).toMatchObject({event: 'config', volumes: [{name: 'pg', settleMs: 50}]});
    const schema = await towline(['config', 'schema']);
    expect(JSON.parse(schema.stdout)).toMatchObject({title: 'Towline configuration'});
  });

  test('I10 an identity that others can read stops every command that needs it, with code 8', async () => {
    const host = new Host();
    await host.init('a', '127.0.0.1:0');
    const path = join(host.state, 'identity.json');
    chmodSync(path, 0o644);
    for (const words of [['id'], ['invite']]) {
      const run = await host.run(...words);
      expect([run.exitCode, run.stderr]).toEqual([
        8,
        expect.stringMatching(/identity\.json is open to others.*chmod 600/),
      ]);
    }
  });

  test('a new key without an agent needs --force, and says who must be paired again', async () => {
    const {a, b, idA} = await pairOfHosts();
    const inviting = a.start('invite');
    await b.run('join', await codeOf(inviting));
    await inviting.end();
    expect((await a.run('peer', 'rotate')).exitCode).toBe(8);
    const rotated = await a.run('peer', 'rotate', '--force');
    expect(rotated.events.at(-1)).toMatchObject({exitCode: 0, pairAgain: ['db-2']});
    expect(rotated.events.at(-1)!['id']).not.toBe(idA);
    expect((await towline(['id', '--config', a.config])).stdout.trim()).toBe(rotated.events.at(-1)!['id']);
  });
});
