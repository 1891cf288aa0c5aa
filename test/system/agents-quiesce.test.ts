/**
 * `flush --quiesce`: a volume's hooks hold its application still while the peers get a copy of that moment, and always
 * let it go on.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {killAtEnd} from '../hosts/clean-up.ts';
import {LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {needsCommands} from '../needs.ts';
import {mapFile} from '../sync/mapped.ts';
import {makeTmpDir} from '../tmp.ts';

/** Counts in two files, one after the other; stands still between two counts while there is a file `hold`. */
const APPLICATION = `
import os, sys, time
root, control = sys.argv[1:]
count = 0
print(flush=True)
while True:
    count += 1
    for name in ('a', 'b'):
        with open(os.path.join(root, name), 'w') as file: file.write('%d ' % count * 2000)
    if os.path.exists(control + '/hold'):
        open(control + '/held', 'w').write(str(count))
        while os.path.exists(control + '/hold'): time.sleep(0.005)
        os.remove(control + '/held')
    time.sleep(0.001)
`;

type Hook = string[] | {run: string[]; timeout?: string; 'on-failure'?: string};

const describeHooks = needsHosts(needsCommands('python3')(describe));

describeHooks('two agents, and hooks on the one that sends', {timeout: 120_000}, () => {
  let source: TestAgent;
  let target: TestAgent;
  const control = makeTmpDir('file');
  const said = join(control, 'said');
  const shell = (script: string): string[] => ['sh', '-c', script];
  const note = (word: string): string => `echo "${word} $TOWLINE_HOOK $TOWLINE_VOLUME" >> ${said}`;

  beforeAll(async () => {
    ({source, target} = makeAgents({source: {listens: false}, target: {}}));
    await pair(source, target);
    target.configure({volumes: {data: {at: target.volume('data'), receive: 'source'}}});
    configure({quiesce: shell(note('ran')), resume: shell(note('ran'))});
    writeFileSync(join(source.volume('data'), 'file'), 'file');
    await startAll(source, target);
    await untilInSync(source, 'data');
  });
  afterAll(() => stopAll(source, target));
  beforeEach(() => rmSync(said, {force: true}));

  function configure(hooks: {quiesce?: Hook; resume?: Hook}): void {
    const volume = {at: source.volume('data'), send: ['target'], 'max-wait': '200ms', hooks, ...LOOSE};
    source.configure({volumes: {data: volume}});
  }
  async function setHooks(hooks: {quiesce?: Hook; resume?: Hook}): Promise<void> {
    configure(hooks);
    await source.reload();
    await untilInSync(source, 'data');
  }
  const flush = (...more: string[]) => source.command(['flush', 'data', '--quiesce', ...more]);
  const lines = (): string[] => (existsSync(said) ? readFileSync(said, 'utf8').trim().split('\n') : []);
  const notices = async (): Promise<string> => (await source.volumeReport('data')).notices.join('\n');

  test('the copy is of one moment of an application that never rests, and it goes on afterwards', async () => {
    const [root, copy] = [source.volume('data'), join(control, 'copy')];
    mkdirSync(copy);
    const held = `${control}/held`;
    const take = `cp ${target.volume('data')}/[ab] ${held} ${copy}`;
    await setHooks({
      quiesce: shell(`${note('ran')}; touch ${control}/hold; while [ ! -e ${held} ]; do sleep 0.01; done`),
      resume: shell(`${take}; rm ${control}/hold; ${note('ran')}`),
    });
    const application = killAtEnd(
      spawn('python3', ['-c', APPLICATION, root, control], {stdio: ['ignore', 'pipe', 'inherit']}),
    );
    await once(application.stdout, 'data');
    const {exitCode, stdout} = await flush();
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('in sync')]);
    expect(lines()).toEqual(['ran quiesce data', 'ran resume data']);
    const [a, b, count] = ['a', 'b', 'held'].map((name) => readFileSync(join(copy, name), 'utf8'));
    expect([a, b]).toEqual([`${count} `.repeat(2_000), `${count} `.repeat(2_000)]);
    const after = readFileSync(join(root, 'a'), 'utf8');
    await source.until('the application goes on', () => readFileSync(join(root, 'a'), 'utf8') !== after);
    application.kill('SIGKILL');
    await untilInSync(source, 'data');
  });

  test('what was stored through mmap just before, of which no time tells, is in the copy', async () => {
    const [file, copy] = [join(source.volume('data'), 'mapped'), join(target.volume('data'), 'mapped')];
    await setHooks({quiesce: ['true'], resume: shell(`cp ${copy} ${control}`)});
    writeFileSync(file, Buffer.alloc(4_096, ' '));
    const mapped = await mapFile(file);
    const timeOf = (): bigint => statSync(file, {bigint: true}).ctimeNs;
    let count = 0;
    for (let before = 0n; timeOf() !== before;) {
      await mapped.store(0, `${++count} `);
      await source.must('flush', 'data', '--rescan'); // it has been read
      before = timeOf();
      await mapped.store(0, `${++count} `); // another process may have had the page written back meanwhile
    }
    expect((await flush()).exitCode).toBe(0);
    expect(readFileSync(join(control, 'mapped'), 'latin1').trim()).toBe(`${count}`);
  });

  test('a quiesce hook that fails: nothing is copied, it is resumed, and it is told; with warn it is only told', async () => {
    const failing = shell(`${note('failed')}; echo 'no such database' >&2; exit 3`);
    await setHooks({quiesce: failing, resume: shell(note('ran'))});
    const refused = await flush();
    expect(refused.exitCode).toBe(8);
    expect(refused.stdout).toMatch(/the quiesce hook of data \(sh\) ended with 3\n +no such database/);
    expect(lines()).toEqual(['failed quiesce data', 'ran resume data']);
    expect(await notices()).toBe('the quiesce hook of data (sh) ended with 3');
    expect(source.log()).toContain('no such database');

    await setHooks({quiesce: {run: failing, 'on-failure': 'warn'}, resume: ['true']});
    expect((await flush('--json')).exitCode).toBe(0);
    expect(await notices()).toBe('the quiesce hook of data (sh) ended with 3');
  });

  test('a hook that does not end is killed with all that it started, and one that is not there is told', async () => {
    const mark = join(control, 'background');
    const background = `(while true; do date +%N > ${mark}; sleep 0.02; done) & sleep 1000`;
    await setHooks({quiesce: {run: shell(background), timeout: '300ms'}, resume: ['towline-no-such-program']});
    const {exitCode, stdout} = await flush();
    expect(exitCode).toBe(8);
    expect(stdout).toMatch(/the quiesce hook of data \(sh\) did not end within 0.3 s and was killed/);
    expect(stdout).toMatch(/the resume hook of data \(towline-no-such-program\) cannot be started: .*ENOENT/);
    expect(await notices()).toMatch(/^its application is quiesced since 20/);
    const before = readFileSync(mark, 'utf8');
    writeFileSync(join(source.volume('data'), 'later'), 'later');
    await untilInSync(source, 'data');
    expect(readFileSync(mark, 'utf8')).toBe(before);
  });

  test('a hook that says 100 MB and leaves a process behind holds nobody up, and gets no environment but its own', async () => {
    await setHooks({
      quiesce: shell('env | sort > "$0"; head -c 100000000 /dev/zero; sleep 20 &').concat(join(control, 'env')),
      resume: shell(note('ran')),
    });
    const {exitCode, seconds} = await flush();
    expect(exitCode).toBe(0);
    expect(seconds).toBeLessThan(30);
    const names = readFileSync(join(control, 'env'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names).toEqual(['HOME', 'LANG', 'PATH', 'PWD', 'TOWLINE_HOOK', 'TOWLINE_PATH', 'TOWLINE_VOLUME']);
    expect(source.memory().residentBytes).toBeLessThan(400e6);
  });

  test.each(['the command gets Ctrl-C', 'the agent is stopped', 'the agent is killed', 'the time is over'])(
    'it is resumed when %s meanwhile',
    async (what) => {
      const held = join(control, 'is-held');
      rmSync(held, {force: true});
      // The peer is frozen once the application is held: the copy does not come to an end.
      const freeze = `touch ${held}; kill -STOP ${target.pid}; echo x > ${source.volume('data')}/new-${what.length}`;
      await setHooks({quiesce: shell(freeze), resume: shell(note('ran'))});
      const running = source.startCommand([
        'flush',
        'data',
        '--quiesce',
        '--timeout',
        what === 'the time is over' ? '2s' : '1m',
      ]);
      await source.until('it is held', () => existsSync(held));
      if (what === 'the command gets Ctrl-C') running.child.kill('SIGINT');
      if (what === 'the agent is stopped') await source.stop();
      if (what === 'the agent is killed') await source.kill9();
      const {exitCode} = await running.end();
      expect(exitCode).toBe(what === 'the command gets Ctrl-C' ? 130 : 5);
      if (what === 'the agent is killed') expect(lines()).toEqual([]);
      target.thaw();
      if (!source.isRunning) await source.start();
      await source.until('it is resumed', () => lines().length > 0);
      expect(lines()).toEqual(['ran resume data']);
      await source.until('it is not said to be held', async () => (await notices()) === '');
      await untilInSync(source, 'data');
    },
  );

  test('without a hook, of a volume that is paused, of all at once, and while the peer is away it is refused, and no hook runs', async () => {
    await setHooks({resume: shell(note('ran'))});
    expect(await flush()).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('has no quiesce hook; set hooks:'),
    });
    await setHooks({quiesce: shell(note('ran'))});
    expect((await source.command(['flush', '--quiesce'])).exitCode).toBe(2);
    await source.pause('data');
    expect(await flush()).toMatchObject({exitCode: 8, stderr: expect.stringContaining('paused')});
    await source.resume('data');
    await untilInSync(source, 'data');
    await target.stop();
    await source.until('the peer is away', async () => (await source.link('data', 'target')).state === 'connecting');
    expect((await flush('--timeout', '1s')).exitCode).toBe(5);
    await target.start();
    await untilInSync(source, 'data');
    expect(lines()).toEqual([]);
  });
});
