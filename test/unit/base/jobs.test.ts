import {expect, onTestFinished, test} from 'vitest';
import {JobPool} from '../../../src/base/worker-pool.ts';
import type {TestJobs} from './jobs.worker.ts';

function makePool(): JobPool<TestJobs> {
  const pool = new JobPool<TestJobs>({url: new URL('./jobs.worker.ts', import.meta.url), data: {}, name: 'test'});
  onTestFinished(() => pool.close());
  return pool;
}

const shared = (): Int32Array<SharedArrayBuffer> => new Int32Array(new SharedArrayBuffer(4));

async function started(flag: Int32Array<SharedArrayBuffer>): Promise<void> {
  await Atomics.waitAsync(flag, 0, 0).value;
}

test('buffers go in and come out moved, not copied', async () => {
  const bytes = Uint8Array.from([1, 2, 3]);
  const doubled = await makePool().run('double', bytes, {transfer: [bytes.buffer]});
  expect([[...doubled], bytes.length]).toEqual([[2, 4, 6], 0]);
});

test('a failed job keeps its code and details, and its thread goes on', async () => {
  const pool = makePool();
  const thread = await pool.run('thread', undefined);
  await expect(pool.run('refuse', 51)).rejects.toMatchObject({code: 'HALTED', details: {count: 51, limit: 1}});
  await expect(pool.run('break', undefined)).rejects.toThrow('x is not a function');
  expect(await pool.run('thread', undefined)).toBe(thread);
});

test.each([
  {how: 'exit', told: 'internal error: a worker thread ended by itself; please report it'},
  {how: 'error', told: 'not even its message can be read'},
] as const)('a thread that ends by an $how costs its own job; the next two get one new thread', async ({how, told}) => {
  const pool = makePool();
  const first = await pool.run('thread', undefined);
  const [crashed, ...next] = await Promise.allSettled([
    pool.run('crash', how),
    pool.run('thread', undefined),
    pool.run('thread', undefined),
  ]);
  expect(crashed).toMatchObject({status: 'rejected', reason: {message: told}});
  const threads = next.map((result) => (result.status === 'fulfilled' ? result.value : result.reason));
  expect(threads).toEqual([threads[0], threads[0]]);
  expect(threads[0]).not.toBe(first);
});

test('while one lane has a long job, the other runs 20 short ones', async () => {
  const pool = makePool();
  const flag = shared();
  const long = pool.run('wait', flag, {lane: 1});
  await started(flag);
  const threads = new Set<number>();
  for (let index = 0; index < 20; index++) threads.add(await pool.run('thread', undefined));
  expect(threads.size).toBe(1);
  await Promise.all([pool.close(), long]);
});

test('of 100 parts 16 are on their way to a caller that takes none, then all come in order before the result', async () => {
  const pool = makePool();
  const emitted = shared();
  const taken: number[] = [];
  const gate = Promise.withResolvers<void>();
  const onPart = async (part: number): Promise<void> => {
    await gate.promise;
    taken.push(part);
  };
  const counting = pool.run('count', {to: 100, emitted}, {onPart});
  await expect.poll(() => Atomics.load(emitted, 0)).toBe(16);
  for (let index = 0; index < 20; index++) await pool.run('thread', undefined, {lane: 1});
  expect(Atomics.load(emitted, 0)).toBe(16);
  gate.resolve();
  await counting;
  expect(taken).toEqual([...Array(100).keys()]);
});

test('a caller that fails at a part gets its own error back, the job is cancelled, the next one is not', async () => {
  const pool = makePool();
  const emitted = shared();
  const onPart = (part: number): void => {
    if (part === 3) throw new Error('part 3');
  };
  const [failed, next] = await Promise.allSettled([
    pool.run('count', {to: 1_000_000, emitted}, {onPart}),
    pool.run('count', {to: 10, emitted: shared()}, {onPart: () => undefined}),
  ]);
  expect(failed).toMatchObject({status: 'rejected', reason: {message: 'part 3'}});
  expect(Atomics.load(emitted, 0)).toBeLessThan(1_000);
  expect(next).toEqual({status: 'fulfilled', value: {cancelledAt: undefined}});
});

test('one that fails at a part after the job is over does not cancel the job that runs by then', async () => {
  const pool = makePool();
  const gate = Promise.withResolvers<void>();
  const emitted = shared();
  const late = pool.run('count', {to: 2, emitted}, {onPart: () => gate.promise});
  late.catch(() => undefined);
  const flag = shared();
  const waiting = pool.run('wait', flag);
  await started(flag); // the first job is over, its parts are not
  gate.reject(new Error('late'));
  await expect(late).rejects.toThrow('late');
  let isOver = false;
  const over = waiting.then(() => (isOver = true));
  for (let index = 0; index < 20; index++) await pool.run('thread', undefined, {lane: 1});
  expect(isOver).toBe(false);
  await pool.close();
  await over;
});

test('closing cancels the job that runs, refuses those that wait and those that come', async () => {
  const pool = makePool();
  const flag = shared();
  const running = pool.run('wait', flag);
  const waiting = pool.run('thread', undefined);
  waiting.catch(() => undefined);
  await started(flag);
  await pool.close();
  expect(await running).toBeUndefined();
  await expect(waiting).rejects.toMatchObject({code: 'CANCELLED'});
  await expect(pool.run('thread', undefined)).rejects.toMatchObject({code: 'CANCELLED'});
});
