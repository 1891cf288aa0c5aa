import {expect, test} from 'vitest';
import {META, putFile, TargetFolder} from './target-folder.ts';

test('G3 an operation that failed is not told as one that only lacks its time', async () => {
  const target = new TargetFolder();
  const old = {...META, mtime: {s: -(2 ** 31), ns: 0}};
  const wanted = {...META, mtime: {s: 2 ** 31, ns: 1}};
  expect(await target.apply({...putFile('a', 'old'), meta: old} as never)).toEqual([{status: 'done'}]);
  const source = {from: 'staged', transfer: 1};
  const [result] = await target.apply({...putFile('a', 'new'), meta: wanted, source} as never);
  expect(result).toMatchObject({status: 'failed', code: 'base-changed'});
});
