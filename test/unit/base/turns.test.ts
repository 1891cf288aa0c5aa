import {expect, test} from 'vitest';
import {Turns} from '../../../src/base/turns.ts';

/** Work that ends when it is told to, and what has begun so far. */
function works(turns: Turns) {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const run = (name: string, kind: 'shared' | 'exclusive'): Promise<void> =>
    turns[kind](() => {
      begun.push(name);
      return new Promise<void>((resolve) => ends.set(name, resolve));
    });
  return {begun, run, end: (name: string) => ends.get(name)?.()};
}

test('shared turns run side by side, an exclusive one alone, in the order in which they were asked for', async () => {
  const {begun, run, end} = works(new Turns());
  const all = [run('a', 'shared'), run('b', 'shared'), run('c', 'exclusive'), run('d', 'shared'), run('e', 'shared')];
  expect(begun).toEqual(['a', 'b']);
  end('a');
  await all[0];
  expect(begun).toEqual(['a', 'b']);
  end('b');
  await all[1];
  expect(begun).toEqual(['a', 'b', 'c']);
  end('c');
  await all[2];
  await expect.poll(() => begun).toEqual(['a', 'b', 'c', 'd', 'e']);
  end('d');
  end('e');
  await Promise.all(all);
});

test('a turn that fails lets the next one in, and its error reaches its caller alone', async () => {
  const turns = new Turns();
  const failed = turns.exclusive(() => Promise.reject(new Error('no')));
  const next = turns.exclusive(() => Promise.resolve(7));
  await expect(failed).rejects.toThrow('no');
  expect(await next).toBe(7);
});
