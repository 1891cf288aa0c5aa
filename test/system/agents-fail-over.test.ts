/** Fail-over between agents: a source that dies, a copy that takes over, and an old source that comes back. */
import {createHash} from 'node:crypto';
import {lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterEach, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilAlone, untilInSync} from '../hosts/agents.ts';
import {makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {needsCommands} from '../needs.ts';
import {judge} from '../judge/judge.ts';

const FILES = 40;
const WAIT_MS = 30_000;

/** Every path with all that a push could change of it, ctime and inode too. */
function listing(root: string): string[] {
  return readdirSync(root, {recursive: true, withFileTypes: true})
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const {mode, size, mtimeMs, ctimeMs, ino} = lstatSync(path);
      const sum = entry.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
      return `${path} ${mode} ${size} ${mtimeMs} ${ctimeMs} ${ino} ${sum}`;
    })
    .toSorted();
}

const stateOf = async (agent: TestAgent, peer: TestAgent): Promise<string> =>
  (await agent.link('data', peer.name)).state;

const halted = (agent: TestAgent, peer: TestAgent): Promise<void> =>
  agent.until('is halted', async () => (await stateOf(agent, peer)) === 'halted', WAIT_MS);

const forget = (agent: TestAgent): void => {
  for (const file of ['agent.db', 'agent.db-wal', 'agent.db-shm']) rmSync(join(agent.stateFolder, file), {force: true});
};

const write = (root: string, name: string, text: string): void => {
  mkdirSync(join(root, name, '..'), {recursive: true});
  writeFileSync(join(root, name), text);
};

needsHosts(describe)('fail-over', {timeout: 240_000}, () => {
  let running: TestAgent[] = [];

  afterEach(async () => {
    await stopAll(...running);
    running = [];
  });

  /** Where in the trash each path lies. */
  async function trashOf(agent: TestAgent): Promise<Map<string, string>> {
    const {trash = ''} = await agent.volumeReport('data');
    const lines = (await agent.must('trash', 'list', 'data', '--json')).trim().split('\n');
    const items = lines.map((line) => JSON.parse(line) as {event: string; path: string; place: string});
    return new Map(items.filter(({event}) => event === 'item').map(({path, place}) => [path, join(trash, place)]));
  }

  /** a sends to b, both are in sync. */
  async function mirror(): Promise<{a: TestAgent; b: TestAgent; at: {a: string; b: string}}> {
    const {a, b} = makeAgents({
      a: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), send: ['b']}}})},
      b: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), receive: 'a'}}})},
    });
    const at = {a: a.volume('data'), b: b.volume('data')};
    for (let file = 0; file < FILES; file++) write(at.a, `d${file % 4}/f${file}`, `${file}`.repeat(100));
    await pair(a, b, {bDials: 'ipv4'});
    running = [a, b];
    await startAll(a, b);
    await untilInSync(a, 'data', WAIT_MS);
    return {a, b, at};
  }

  test('H18 a source dies with changes unsent, its copy is promoted and written, it comes back: nothing of the copy changes; after follow both are equal and the unsent is in its trash', async () => {
    const {a, b, at} = await mirror();
    b.host.unplug();
    write(at.a, 'unsent/new', 'never left the host');
    write(at.a, 'd0/f0', 'changed and never sent');
    rmSync(join(at.a, 'd1/f1'));
    await a.kill9();
    b.host.plug();
    await untilAlone(b, WAIT_MS);
    const told = await b.must('promote', 'data', '--yes');
    expect(told).toContain('epoch 2');
    write(at.b, 'd2/f2', 'written on the promoted copy');
    write(at.b, 'fresh', 'made on the promoted copy');
    const before = listing(at.b);
    await a.start();
    await halted(a, b);
    expect((await a.link('data', 'b')).reason).toMatch(/promoted on b.*epoch 2.*towline follow data b/);
    write(at.a, 'unsent/later', 'written on the old source after it came back');
    await sleep(3_000);
    expect(listing(at.b)).toEqual(before);
    const once = await a.command(['agent', '--once', 'data', '--timeout', '20s']);
    expect(once.exitCode).toBe(3);
    expect((await a.command(['confirm', 'data', '--yes', '0'])).exitCode).toBe(8);
    const plan = await a.must('follow', 'data', 'b', '--dry-run', '--json');
    for (const path of ['unsent', 'unsent/new', 'unsent/later', 'd0/f0']) expect(plan).toContain(`"path":"${path}"`);
    const {goneCount} = JSON.parse(plan.trim().split('\n').at(-1)!) as {goneCount: number};
    expect((await a.command(['follow', 'data', 'b', '--yes', String(goneCount + 1)])).exitCode).toBe(8);
    expect(listing(at.b)).toEqual(before);
    await a.must('follow', 'data', 'b', '--yes', String(goneCount));
    await untilInSync(b, 'data', WAIT_MS);
    expect(await judge(at.b, at.a)).toEqual([]);
    expect(readFileSync(join(at.b, 'fresh'), 'utf8')).toBe('made on the promoted copy');
    expect(listing(at.b)).toEqual(before);
    const trash = await trashOf(a);
    expect(readFileSync(join(trash.get('unsent')!, 'new'), 'utf8')).toBe('never left the host');
    expect(readFileSync(join(trash.get('unsent')!, 'later'), 'utf8')).toContain('after it came back');
    expect(readFileSync(trash.get('d0/f0')!, 'utf8')).toBe('changed and never sent');
    const log = await a.must('log', 'data', '--json');
    expect(log).toContain('"path":"d0/f0"');
    for (const command of [['status', 'data'], ['config', 'check'], ['config', 'show'], ['doctor']])
      expect((await b.command(command)).stdout.replaceAll(/\s+/g, ' ')).toContain(
        'write send: [a] instead of receive:',
      );

    // Back again, while the present source is alive: it is paused first, so nothing is lost.
    write(at.b, 'last', 'written before the switch');
    expect((await a.command(['promote', 'data', '--yes'])).stderr).toMatch(/is connected and sends data.*pause/);
    await b.must('flush', 'data');
    await b.pause('data');
    await a.until('is not served', async () => (await stateOf(a, b)) === 'waiting');
    expect(await a.must('promote', 'data', '--yes')).toContain('epoch 3');
    expect(await b.must('follow', 'data', 'a', '--yes', '0')).toContain('nothing here that a does not have');
    write(at.a, 'afterwards', 'x');
    await untilInSync(a, 'data', WAIT_MS);
    expect(await judge(at.a, at.b)).toEqual([]);
    expect(readFileSync(join(at.a, 'last'), 'utf8')).toBe('written before the switch');
    for (const agent of [a, b]) expect((await agent.volumeReport('data')).notices).toEqual([]);
    await Promise.all([a.kill9(), b.kill9()]);
    await startAll(a, b);
    write(at.a, 'after-a-restart', 'x');
    await untilInSync(a, 'data', WAIT_MS);
  });

  test('H18 a promoted copy stays one, and an old source stays halted, over kills and with a configuration that says the same; a third thing halts', async () => {
    const {a, b, at} = await mirror();
    await a.kill9();
    await b.must('promote', 'data', '--yes');
    await a.start();
    await halted(a, b);
    await Promise.all([a.kill9(), b.kill9()]);
    const before = listing(at.b);
    for (let file = 0; file < 3 * FILES; file++) write(at.a, `unsent/f${file}`, 'x'); // more than the guards let go
    await a.start(); // alone: what halted it is not there
    expect(await stateOf(a, b)).toBe('halted');
    await b.start();
    b.configure({volumes: {data: {at: at.b, send: ['a']}}});
    await b.reload();
    await b.until('tells nothing', async () => (await b.volumeReport('data')).notices.length === 0);
    await b.until('is told to wait', async () => /does not follow yet/.test((await b.link('data', 'a')).reason ?? ''));
    expect(listing(at.b)).toEqual(before);
    expect(await stateOf(a, b)).toBe('halted');
    await a.must('follow', 'data', 'b', '--yes', String(3 * FILES + 1));
    await untilInSync(b, 'data', WAIT_MS);
    expect(await judge(at.b, at.a)).toEqual([]);
    a.configure({volumes: {data: {at: at.a, receive: 'b'}}});
    await a.reload();
    write(at.b, 'more', 'x');
    await untilInSync(b, 'data', WAIT_MS);
    expect((await a.volumeReport('data')).notices).toEqual([]);
    a.pin('c', 'c'.repeat(64), undefined);
    a.configure({volumes: {data: {at: at.a, receive: 'c'}}});
    await a.reload();
    await a.until('says what to write', async () =>
      /says of data that it is received from c.*follows b/.test((await a.volumeReport('data')).reason ?? ''),
    );
    expect((await a.command(['status', 'data'])).exitCode).toBe(3);
  });

  /** a sends to b and to c, all are in sync. */
  async function fan(): Promise<{agents: [TestAgent, TestAgent, TestAgent]; at: {a: string; b: string; c: string}}> {
    const {a, b, c} = makeAgents({
      a: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), send: ['b', 'c']}}})},
      b: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), receive: 'a'}}})},
      c: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), receive: 'a'}}})},
    });
    const at = {a: a.volume('data'), b: b.volume('data'), c: c.volume('data')};
    for (let file = 0; file < FILES; file++) write(at.a, `f${file}`, `${file}`);
    await pair(a, b);
    await pair(a, c);
    await pair(b, c);
    running = [a, b, c];
    await startAll(a, b, c);
    await untilInSync(a, 'data', WAIT_MS);
    return {agents: [a, b, c], at};
  }

  test('H18 two copies promoted at once halt each other and say so, and follow on one settles it', async () => {
    const {
      agents: [a, b, c],
      at,
    } = await fan();
    await a.kill9();
    await b.must('promote', 'data', '--yes');
    await c.must('promote', 'data', '--yes');
    write(at.b, 'of-b', 'b');
    write(at.c, 'of-c', 'c');
    expect((await c.command(['follow', 'data', 'b', '--yes'])).stderr).toMatch(/not given/);
    c.configure({volumes: {data: {at: at.c, send: ['b']}}});
    await c.reload();
    b.configure({volumes: {data: {at: at.b, send: ['c']}}});
    await b.reload();
    await halted(b, c);
    await c.until('is halted', async () => (await c.command(['status', 'data'])).exitCode === 3, WAIT_MS);
    for (const agent of [b, c])
      expect((await agent.volumeReport('data')).role?.superseded).toContain('promoted on two agents in epoch 2');
    expect([readdirSync(at.b).includes('of-c'), readdirSync(at.c).includes('of-b')]).toEqual([false, false]);
    expect(await c.must('follow', 'data', 'b', '--yes', '1')).toContain('of-c');
    await untilInSync(b, 'data', WAIT_MS);
    expect(await judge(at.b, at.c)).toEqual([]);
    expect([...(await trashOf(c)).keys()]).toEqual(['of-c']);
  });

  test('H18 a further target of the old source is fed through it once it follows, in the new epoch', async () => {
    const {
      agents: [a, b, c],
      at,
    } = await fan();
    await a.kill9();
    await b.must('promote', 'data', '--yes');
    write(at.b, 'of-b', 'b');
    write(at.a, 'unsent', 'a');
    await a.start();
    await halted(a, b);
    await a.until('halts towards c too', async () => (await stateOf(a, c)) === 'halted', WAIT_MS);
    await a.must('follow', 'data', 'b', '--yes');
    await untilInSync(b, 'data', WAIT_MS);
    await untilInSync(a, 'data', WAIT_MS);
    expect(await judge(at.b, at.c)).toEqual([]);
    expect((await c.volumeReport('data')).role?.epoch).toBe(2);
  });

  test('H18 a lost source is filled again: a new, empty host follows what was promoted', async () => {
    const {a, b, at} = await mirror();
    await a.kill9();
    await b.must('promote', 'data', '--yes');
    rmSync(a.stateFolder, {recursive: true});
    rmSync(at.a, {recursive: true});
    mkdirSync(at.a);
    await pair(a, b, {bDials: 'ipv4'}); // another identity, known by the old name
    await b.reload();
    await a.start();
    await halted(a, b);
    expect(await a.must('follow', 'data', 'b', '--yes')).toContain('will come from b');
    await untilInSync(b, 'data', WAIT_MS);
    expect(await judge(at.b, at.a)).toEqual([]);
    expect(readdirSync(at.b).length).toBe(4);
  });

  test('H18 a promotion outlives its agent.db: an older one, or none, lets no old source write, and no old copy push', async () => {
    const {a, b, at} = await mirror();
    await b.stop();
    const kept = readFileSync(join(b.stateFolder, 'agent.db'));
    await b.start();
    await a.kill9();
    write(at.a, 'unsent', 'x');
    await b.must('promote', 'data', '--yes');
    write(at.b, 'of-b', 'written after the promotion');
    await b.kill9();
    forget(b);
    writeFileSync(join(b.stateFolder, 'agent.db'), kept);
    const before = listing(at.b);
    await startAll(a, b);
    await halted(a, b);
    expect(listing(at.b)).toEqual(before);
    expect(await b.must('promote', 'data', '--yes')).toContain('epoch 3');
    await a.must('follow', 'data', 'b', '--yes');
    await untilInSync(b, 'data', WAIT_MS);
    expect(await judge(at.b, at.a)).toEqual([]);

    await a.kill9();
    forget(a); // its configuration still says that it is the source
    rmSync(join(at.a, 'd0'), {recursive: true});
    const copy = listing(at.b);
    await a.start();
    await a.until('is halted', async () => (await a.command(['status', 'data'])).exitCode === 3, WAIT_MS);
    expect((await a.volumeReport('data')).role?.superseded).toContain('was a copy in epoch 3');
    expect(listing(at.b)).toEqual(copy);
    await a.must('follow', 'data', 'b', '--yes');
    await untilInSync(b, 'data', WAIT_MS);
    expect(await judge(at.b, at.a)).toEqual([]);
    expect(listing(at.b)).toEqual(copy);
  });

  test('H18 a copy takes nothing from a source whose state is older than what it has seen', async () => {
    const {a, b, at} = await mirror();
    await a.stop();
    const kept = readFileSync(join(a.stateFolder, 'agent.db'));
    await a.start();
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      await from.kill9();
      await to.must('promote', 'data', '--yes');
      await from.start();
      await halted(from, to);
      await from.must('follow', 'data', to.name, '--yes');
      await untilInSync(to, 'data', WAIT_MS);
    }
    await a.stop();
    forget(a);
    writeFileSync(join(a.stateFolder, 'agent.db'), kept);
    a.host.run('setfattr', '-x', 'trusted.towline.epoch', at.a); // as on a disk that came from a backup too
    rmSync(join(at.a, 'd0'), {recursive: true});
    const before = listing(at.b);
    await a.start();
    await halted(a, b);
    expect((await a.link('data', 'b')).reason).toContain('its state is older than a promotion');
    expect(listing(at.b)).toEqual(before);
    expect(await a.must('promote', 'data', '--yes')).toContain('epoch 4');
    await untilInSync(a, 'data', WAIT_MS);
    expect(await judge(at.a, at.b)).toEqual([]);
  });

  needsCommands('strace')(test)(
    'H18 a copy that was killed within a batch is promoted with that batch whole',
    async () => {
      const {a, b, at} = await mirror();
      const killer = b.host.spawn(
        ['strace', '-f', '-qq', '-p', String(b.pid), '-e', 'trace=renameat2', '-e', 'inject=renameat2:signal=KILL'],
        {stdio: 'ignore'},
      );
      await b.until('is traced', () => /TracerPid:\s+[1-9]/.test(readFileSync(`/proc/${b.pid}/status`, 'latin1')));
      write(at.a, 'd0/f0', 'journalled, and not switched yet');
      for (const endMs = performance.now() + WAIT_MS; b.isRunning && performance.now() < endMs;) await sleep(50);
      expect(b.isRunning).toBe(false);
      killer.kill('SIGKILL');
      await a.kill9();
      expect(readFileSync(join(at.b, 'd0/f0'), 'utf8')).toBe('0'.repeat(100));
      await b.start();
      await b.must('promote', 'data', '--yes');
      expect(readFileSync(join(at.b, 'd0/f0'), 'utf8')).toBe('journalled, and not switched yet');
    },
  );
});
