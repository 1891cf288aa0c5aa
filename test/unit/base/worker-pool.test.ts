import {spawnSync} from 'node:child_process';
import {readdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {WorkerPool, type ScopedRunner} from '../../../src/base/worker-pool.ts';
import {makeTmpDir} from '../../tmp.ts';
import type {TestJobs, TestScope} from './jobs.worker.ts';

type Flag = Int32Array<SharedArrayBuffer>;
type Pool = WorkerPool<TestJobs, TestScope>;
const url = new URL('./jobs.worker.ts', import.meta.url);

function makePool(options: {workers?: number; patienceMs?: number} = {}): Pool {
  const pool: Pool = new WorkerPool({url, name: 'test', ...options});
  onTestFinished(() => pool.close());
  return pool;
}

const flag = (): Flag => new Int32Array(new SharedArrayBuffer(4));
const threads = (): number => readdirSync('/proc/self/task').length;

/** A job that runs until it is let go; it does not look at its cancellation. */
async function hang(scope: ScopedRunner<TestJobs>, lane: 0 | 1 = 0): Promise<{end: () => Promise<void>}> {
  const word = flag();
  const hanging = scope.run('hang', word, {lane});
  const end = async (): Promise<void> => {
    Atomics.store(word, 0, 2);
    Atomics.notify(word, 0);
    await hanging;
  };
  onTestFinished(end);
  await Atomics.waitAsync(word, 0, 0).value;
  return {end};
}

test('two scopes share a thread, and each has handlers of its own', async () => {
  const pool = makePool();
  const [one, two] = [pool.scope({name: 'one'}), pool.scope({name: 'two'})];
  await one.run('keep', 'value');
  const [seenByOne, seenByTwo] = [await one.run('look', undefined), await two.run('look', undefined)];
  expect(seenByOne).toMatchObject({name: 'one', kept: 'value'});
  expect(seenByTwo).toMatchObject({name: 'two', kept: undefined, thread: seenByOne.thread});
});

test('of 10 jobs of one scope and 2 each of two others, which came later, the scopes take turns', async () => {
  const pool = makePool();
  const scopes = ['a', 'b', 'c'].map((name) => pool.scope({name}));
  const [a, b, c] = scopes as [ScopedRunner<TestJobs>, ScopedRunner<TestJobs>, ScopedRunner<TestJobs>];
  const blocker = await hang(pool.scope({name: 'blocker'}));
  const order: string[] = [];
  const looking = [...Array(10).fill(a), b, b, c, c].map(async (scope: ScopedRunner<TestJobs>) => {
    order.push((await scope.run('look', undefined)).name);
  });
  await blocker.end();
  await Promise.all(looking);
  expect(order.join('')).toBe('abcabcaaaaaaaa');
});

test('with 4 workers 3 long jobs run at once, two of one scope never do', async () => {
  const pool = makePool({workers: 4});
  const scopes = ['a', 'b', 'c'].map((name) => pool.scope({name}));
  const blockers = [];
  for (const scope of scopes) blockers.push(await hang(scope, 1));
  let isOver = false;
  const waiting = scopes[0]?.run('look', undefined, {lane: 1}).then(() => (isOver = true));
  await blockers[1]?.end();
  await scopes[1]?.run('look', undefined, {lane: 1});
  expect(isOver).toBe(false);
  await blockers[0]?.end();
  await waiting;
});

test('a scope that keeps something goes where it is, also when another thread is free; after that anywhere', async () => {
  const pool = makePool({workers: 3});
  const [one, two] = [pool.scope({name: 'one'}), pool.scope({name: 'two'})];
  await one.run('keep', 'value', {lane: 1});
  const {thread} = await one.run('look', undefined, {lane: 1});
  const blocker = await hang(two, 1);
  expect(await one.run('look', undefined, {lane: 1})).toMatchObject({kept: 'value', thread});
  await blocker.end();
  await one.run('keep', undefined, {lane: 1});
  const inTheWay = await hang(two, 1);
  expect(await one.run('look', undefined, {lane: 1})).toMatchObject({kept: undefined});
  await inTheWay.end();
});

test('closing a scope refuses its waiting jobs, cancels its running one and closes what it keeps; others go on', async () => {
  const pool = makePool();
  const closed = flag();
  const [gone, stays] = [pool.scope({name: 'gone', closed}), pool.scope({name: 'stays', closed})];
  await gone.run('keep', 'value');
  await stays.run('keep', 'other');
  const [started, others] = [flag(), flag()];
  const othersJob = stays.run('wait', others, {lane: 1});
  await Atomics.waitAsync(others, 0, 0).value;
  const running = gone.run('wait', started);
  await Atomics.waitAsync(started, 0, 0).value;
  const waiting = gone.run('look', undefined);
  waiting.catch(() => undefined);
  const afterwards = stays.run('look', undefined);
  await gone.close();
  expect(Atomics.load(closed, 0)).toBe(1);
  expect(await running).toBeUndefined();
  await expect(waiting).rejects.toMatchObject({code: 'CANCELLED'});
  await expect(gone.run('look', undefined)).rejects.toMatchObject({code: 'CANCELLED'});
  expect(await afterwards).toMatchObject({kept: 'other'});
  let isOver = false;
  const over = othersJob.then(() => (isOver = true));
  for (let index = 0; index < 20; index++) await stays.run('look', undefined);
  expect(isOver).toBe(false);
  await stays.close();
  await over;
});

test('a scope whose handlers cannot be closed says so, and the thread goes on', async () => {
  const pool = makePool();
  const [bad, good] = [pool.scope({name: 'bad'}), pool.scope({name: 'good'})];
  await bad.run('keep', 'bad');
  const {thread} = await bad.run('look', undefined);
  await expect(bad.close()).rejects.toThrow('cannot be closed');
  expect(await good.run('look', undefined)).toMatchObject({thread});
});

test('a thread that ends costs the job it ran and what was kept in it, and no other scope any job', async () => {
  const pool = makePool();
  const [one, two] = [pool.scope({name: 'one'}), pool.scope({name: 'two'})];
  await two.run('keep', 'value');
  const before = await two.run('look', undefined);
  const [crashed, after] = await Promise.allSettled([one.run('crash', 'exit'), two.run('look', undefined)]);
  expect(crashed).toMatchObject({status: 'rejected', reason: {details: {what: 'a worker thread ended by itself'}}});
  expect(after).toMatchObject({status: 'fulfilled', value: {kept: undefined}});
  expect(after).not.toMatchObject({value: {thread: before.thread}});
  await two.close();
});

test.each([
  {what: 'whose handlers cannot be made', data: {name: 'broken', isBroken: true}, input: Uint8Array.of(1)},
  {what: 'with an input that cannot cross threads', data: {name: 'fine'}, input: (() => 0) as unknown as Uint8Array},
])('a scope $what fails its job alone', async ({data, input}) => {
  const pool = makePool();
  const scope = pool.scope(data);
  await expect(scope.run('double', input)).rejects.toThrow(/no handlers|could not be cloned/);
  const other = pool.scope({name: 'other'});
  expect(await other.run('look', undefined)).toMatchObject({name: 'other'});
  await expect(scope.run('double', input)).rejects.toThrow(/no handlers|could not be cloned/);
  await scope.close();
});

test('jobs that hang in 2 scopes hold back no other; what hangs after that waits, and all extra threads end', async () => {
  const patienceMs = 40;
  const pool = makePool({patienceMs});
  const other = pool.scope({name: 'other'});
  await other.run('look', undefined);
  const before = threads();
  const stuck = [];
  for (const name of ['a', 'b', 'c']) {
    stuck.push(await hang(pool.scope({name})));
    if (name !== 'c') expect(await other.run('look', undefined)).toMatchObject({name: 'other'});
  }
  expect(threads()).toBe(before + 2);
  let isOver = false;
  const last = other.run('look', undefined).then(() => (isOver = true));
  await new Promise((resolve) => setTimeout(resolve, 4 * patienceMs)); // nothing is to happen for so long
  expect([isOver, threads()]).toEqual([false, before + 2]);
  for (const {end} of stuck) await end();
  await last;
  await expect.poll(threads).toBe(before);
});

test('what a scope keeps in a thread that another hangs is given up in the end, and closed when the hang is over', async () => {
  const pool = makePool({patienceMs: 20});
  const closed = flag();
  const [kept, stuck] = [pool.scope({name: 'kept', closed}), pool.scope({name: 'stuck'})];
  await kept.run('keep', 'value');
  const {thread} = await kept.run('look', undefined);
  const {end} = await hang(stuck);
  const after = await kept.run('look', undefined);
  expect(after.kept).toBeUndefined();
  expect(after.thread).not.toBe(thread);
  await kept.run('keep', 'again');
  expect(Atomics.load(closed, 0)).toBe(0);
  await end();
  await expect.poll(() => Atomics.load(closed, 0), {timeout: 20_000}).toBe(1);
  expect(await kept.run('look', undefined)).toMatchObject({kept: 'again', thread: after.thread});
});

test('what is only a cache is used while its thread is there; for a long job of another it is not waited', async () => {
  const pool = makePool({patienceMs: 60});
  const closed = flag();
  const [scope, stuck] = [pool.scope({name: 'scope', closed}), pool.scope({name: 'stuck'})];
  await scope.run('cache', 'value');
  const {thread, kept} = await scope.run('look', undefined);
  expect(kept).toBe('value');
  const {end} = await hang(stuck);
  const elsewhere = await scope.run('look', undefined);
  expect(elsewhere.kept).toBeUndefined();
  expect(elsewhere.thread).not.toBe(thread);
  await end();
  await expect.poll(() => Atomics.load(closed, 0)).toBe(1);
});

test('a closed scope waits neither for ever for a thread that another hangs, nor for jobs of others elsewhere', async () => {
  const pool = makePool({patienceMs: 20});
  const [kept, stuck] = [pool.scope({name: 'kept'}), pool.scope({name: 'stuck'})];
  await kept.run('keep', 'value');
  await kept.run('look', undefined, {lane: 1});
  const [here, there] = [await hang(stuck), await hang(stuck, 1)];
  await expect(kept.close()).resolves.toBeUndefined();
  await Promise.all([here.end(), there.end()]);
});

test('100 scopes run in two threads', async () => {
  const before = threads();
  const pool = makePool();
  const looks = Array.from({length: 100}, async (_, index) => {
    const scope = pool.scope({name: `volume ${index}`});
    const seen = [await scope.run('look', undefined), await scope.run('look', undefined, {lane: 1})];
    return seen.map(({name, thread}) => `${name === `volume ${index}`} ${thread}`);
  });
  expect(new Set((await Promise.all(looks)).flat()).size).toBe(2);
  expect(threads()).toBe(before + 2);
});

test('a process that has nothing else to do waits for the end of 10 pools, and is not left in the middle', () => {
  const pool = new URL('../../../src/base/worker-pool.ts', import.meta.url).href;
  const script = join(makeTmpDir(), 'ten-pools.mjs');
  writeFileSync(
    script,
    `import {WorkerPool} from ${JSON.stringify(pool)};
    for (let count = 0; count < 10; count++) {
      const pool = new WorkerPool({url: new URL(${JSON.stringify(url.href)}), name: 'alone'});
      await pool.scope({name: 'a'}).run('look', undefined);
      await pool.close();
    }
    console.log('all are closed');`,
  );
  const {status, stdout, stderr} = spawnSync(process.execPath, [script], {encoding: 'utf8'});
  expect([status, stdout], stderr).toEqual([0, 'all are closed\n']);
});
