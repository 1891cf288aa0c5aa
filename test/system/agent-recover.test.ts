/**
 * `towline agent --recover`: an agent was killed in the middle of a batch; nobody is there but the disk.
 */
import {existsSync, mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {readByWalk} from '../judge/tools.ts';
import {KillBench} from '../lab/kill-bench.ts';
import {checkRolledForward} from '../lab/kill-checks.ts';
import {SCENARIOS} from '../lab/kill-scenarios.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import type {JournalRecord} from '../../src/apply/journal-record.ts';
import {closeFd} from '../../src/linux/open-fd.ts';
import {packEpoch} from '../../src/model/epoch.ts';
import {fromText} from '../../src/model/path.ts';
import {openRoot, writeEpochMark} from '../../src/volume/root-identity.ts';
import type {Run} from '../sync/harness.ts';

const replacing = SCENARIOS.find(({replaces}) => replaces !== undefined)!;

const onLoop = needsLoopMounts(needsCommands('strace', 'setfattr', 'setfacl')(describe));
let bench: KillBench;
let open: JournalRecord[];
/** With a batch that was journalled and half switched. */
async function killed(): Promise<void> {
  for (const nth of [4, 3, 5, 2]) {
    await bench.reset('target', false);
    replacing.change((path) => join(bench.source, path));
    if (!(await bench.runKilled('target', 'renameat2', nth))) continue;
    open = bench.journalled('target');
    if (checkRolledForward(bench.target, open).length > 0) return;
  }
  throw new Error('it was not killed in the middle of a batch');
}

async function expectDone(): Promise<void> {
  expect(checkRolledForward(bench.target, open)).toEqual([]);
  const [now, wanted] = await readByWalk(bench.target, bench.source);
  for (const {path} of open) expect(now!.get(path)?.['content'], path).toBe(wanted!.get(path)!['content']);
}

/** Marks the copy's folder as of a promotion there. */
function markAsSource(isSource: boolean): void {
  const {fd} = openRoot(fromText(bench.target), undefined);
  writeEpochMark(fd, {packed: packEpoch({number: 2, token: 1}), isSource});
  closeFd(fd);
}

const eventsOf = (run: Run): object[] =>
  run.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as object);

onLoop('agent --recover', () => {
  beforeAll(() => {
    bench = new KillBench();
  });

  test('says nothing of an idle state, and touches nothing', async () => {
    await bench.reset('target', false);
    const people = await bench.recover();
    expect(people).toMatchObject({exitCode: 0, stdout: '', stderr: ''});
    expect(eventsOf(await bench.recover('--json'))).toMatchObject([{event: 'result', exitCode: 0}]);
    expect(existsSync(bench.at('state-nowhere'))).toBe(false);
    expect(await bench.recover('--state', bench.at('state-nowhere'))).toMatchObject({exitCode: 0});
    expect(existsSync(bench.at('state-nowhere'))).toBe(false);
  }, 120_000);

  test.each([
    [['--once'], '--once'],
    [['v'], 'VOLUME'],
    [['--timeout', '1s'], '--timeout'],
  ])('goes with nothing else: %j', async (more, named) => {
    expect(await bench.recover(...more)).toMatchObject({exitCode: 2, stderr: expect.stringContaining(named) as string});
  });
});

onLoop('agent --recover after a kill in the middle of a batch', () => {
  beforeAll(() => {
    bench = new KillBench();
  });
  beforeEach(killed, 240_000);

  test('H4 completes the batch without the peer; a root that is missing, or is another, keeps its journal until it is back', async () => {
    renameSync(bench.target, `${bench.target}-away`);
    const missing = await bench.recover();
    expect(missing).toMatchObject({exitCode: 3, stdout: expect.stringMatching(/^v: .*does not exist/) as string});
    mkdirSync(bench.target);
    const other = await bench.recover('--json');
    expect(other.exitCode).toBe(3);
    expect(eventsOf(other)).toMatchObject([
      {event: 'recovered', volume: 'v', batches: 0, exitCode: 3},
      {event: 'result', exitCode: 3},
    ]);
    rmdirSync(bench.target);
    renameSync(`${bench.target}-away`, bench.target);
    expect(bench.journalled('target')).toEqual(open);

    markAsSource(true);
    const source = await bench.recover();
    expect(source).toMatchObject({exitCode: 3, stdout: expect.stringMatching(/^v: .*it is the source now/) as string});
    markAsSource(false);
    expect(bench.journalled('target')).toEqual(open);

    // One whose state cannot even be locked keeps no other from it.
    const broken = bench.at('state-target/volumes/a/target');
    mkdirSync(join(broken, 'lock'), {recursive: true});
    writeFileSync(join(broken, 'journal.db'), '');
    const run = await bench.recover();
    expect(run).toMatchObject({exitCode: 1, stdout: expect.stringMatching(/^v: 1 batch .* is complete/m) as string});
    await expectDone();
    expect(run.stdout).toMatch(/^a: /m);
    rmSync(bench.at('state-target/volumes/a'), {recursive: true});
    expect(await bench.recover()).toMatchObject({exitCode: 0, stdout: ''});
    const log = readFileSync(bench.at('state-target/log/actions-000000000001.ndjson'), 'utf8');
    for (const {path} of open) expect(log).toContain(`"path":"${path}"`);
    expect(log).toContain('"peer":"source"');
  }, 240_000);

  test('H4 the agent completes it when it starts, without waiting for its peer; beside it --recover ends with 6', async () => {
    const agent = bench.startTarget();
    await agent.waitFor(() => bench.journalled('target').length === 0, 60_000);
    await expectDone();
    expect(await bench.recover()).toMatchObject({exitCode: 6, stderr: expect.stringContaining('in use') as string});
    await agent.stop();
  }, 240_000);
});
