import {appendFileSync, existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import type {Op} from '../../../src/model/op.ts';
import {makeDir, META, putFile, remove, TargetFolder} from './target-folder.ts';

describe('J17 what a batch deletes and replaces is told with its place in the trash', () => {
  test('a deleted file and a deleted folder', async () => {
    const target = new TargetFolder();
    await target.apply(putFile('a', 'content of a'), makeDir('d'), putFile('d/in', 'content of d/in'));
    expect(target.actions).toEqual([]);
    await target.apply(remove('a'), remove('d', 'dir'));
    expect(target.actions).toMatchObject([
      {op: 'delete', path: 'a', to: undefined, reason: 'deleted'},
      {op: 'delete', path: 'd', to: undefined, reason: 'deleted'},
    ]);
    expect(target.kept(target.actions[0]?.place)).toBe('content of a');
    expect(target.kept(`${target.actions[1]?.place}/in`)).toBe('content of d/in');
    const batches = target.actions.map(({batch}) => batch);
    expect(new Set(batches).size).toBe(1);
  });

  test('of own versions one an hour has a place, the others are told without; one that somebody changed has its own', async () => {
    const target = new TargetFolder();
    for (let version = 1; version <= 3; version++) await target.apply(putFile('a', `version ${version}`));
    expect(target.actions).toMatchObject([
      {op: 'put-file', path: 'a', reason: 'own version'},
      {op: 'put-file', path: 'a', reason: 'own version', place: undefined},
    ]);
    expect(target.kept(target.actions[0]?.place)).toBe('version 1');
    appendFileSync(join(target.root, 'a'), ', and what somebody added');
    await target.apply(putFile('a', 'version 4'));
    expect(target.actions[2]).toMatchObject({op: 'put-file', reason: 'replaced'});
    expect(target.kept(target.actions[2]?.place)).toBe('version 3, and what somebody added');
  });

  describe('what somebody wrote into a file stays theirs, whatever happens to the file before it is replaced', () => {
    const content = (putFile('a', 'version 2') as {content: Buffer}).content;
    test.each<[string, Op[]]>([
      ['its metadata is set', [{kind: 'set-meta', path: 'a', type: 'file', meta: {...META, mode: 0o600}}]],
      [
        'it is renamed there and back',
        [
          {kind: 'rename', path: 'a', to: 'b', type: 'file', content},
          {kind: 'rename', path: 'b', to: 'a', type: 'file', content},
        ],
      ],
      [
        'it changes places with another, twice',
        [
          {kind: 'exchange', path: 'a', to: 'c'},
          {kind: 'exchange', path: 'c', to: 'a'},
        ],
      ],
      ['it gets another name for a while', [{kind: 'link', path: 'b', to: 'a'}, remove('b')]],
    ])('%s', async (_, ops) => {
      const target = new TargetFolder();
      for (let version = 1; version <= 2; version++) await target.apply(putFile('a', `version ${version}`));
      await target.apply(putFile('c', 'of c'));
      const theirs = 'version of somebody else';
      writeFileSync(join(target.root, 'a'), theirs);
      for (const op of ops) await target.apply(op);
      for (const name of ['a', 'c']) await target.apply(putFile(name, 'version 3'));
      expect(target.items().map((place) => target.kept(place))).toContain(theirs);
    });
  });

  test('of a file that somebody wrote to, another name is not said to hold what was there before', async () => {
    const target = new TargetFolder();
    await target.apply(putFile('a', 'version 1'));
    expect(target.knownContent('a')).toBeDefined();
    writeFileSync(join(target.root, 'a'), 'of others');
    await target.apply({kind: 'link', path: 'b', to: 'a'});
    expect(target.knownContent('b')).toBeUndefined();
  });

  test('a rename over a file names both paths', async () => {
    const target = new TargetFolder();
    await target.apply(putFile('a', 'of a'), putFile('b', 'of b'));
    const {content} = putFile('a', 'of a') as {content: Buffer};
    await target.apply({kind: 'rename', path: 'a', to: 'b', type: 'file', content});
    expect(target.actions).toMatchObject([{op: 'rename', path: 'a', to: 'b'}]);
    expect(target.kept(target.actions[0]?.place)).toBe('of b');
  });

  test('an empty folder and another name of a file that are replaced lose nothing, and are told', async () => {
    const target = new TargetFolder();
    await target.apply(makeDir('d'), putFile('a', 'of a'), {kind: 'link', path: 'b', to: 'a'});
    await target.apply(putFile('d', 'a file now'), putFile('b', 'by itself now'));
    expect(target.actions).toMatchObject([
      {path: 'd', place: undefined, reason: 'empty folder'},
      {path: 'b', place: undefined, reason: 'has another name'},
    ]);
    expect(target.items()).toEqual([]);
  });

  test('a folder in which an ignored file stays: each file that went', async () => {
    const target = new TargetFolder({ignore: ['*.keep']});
    await target.apply(makeDir('d'), putFile('d/a', 'of d/a'), putFile('d/b', 'of d/b'));
    writeFileSync(join(target.root, 'd/c.keep'), 'stays');
    const [result] = await target.apply(remove('d', 'dir'));
    expect(result).toMatchObject({status: 'failed', code: 'not-empty'});
    expect(target.actions.map(({path}) => path).sort()).toEqual(['d/a', 'd/b']);
    for (const {path, place} of target.actions) expect(target.kept(place)).toBe(`of ${path}`);
    expect(readFileSync(join(target.root, 'd/c.keep'), 'utf8')).toBe('stays');
  });

  test('what could not be done is not told', async () => {
    const target = new TargetFolder();
    await target.apply(putFile('a', 'of a'));
    const {content} = putFile('a', 'something else') as {content: Buffer};
    const results = await target.apply(
      remove('missing'),
      {kind: 'rename', path: 'missing', to: 'a', type: 'file', content},
      putFile('nowhere/a', 'has no folder'),
    );
    expect(target.actions).toEqual([]);
    expect(results.map(({status}) => status)).toEqual(['done', 'failed', 'failed']);
    expect(existsSync(join(target.root, 'a'))).toBe(true);
  });
});

test('J17 after a crash between the switch and the record all of it is told once the batch was completed', async () => {
  const target = new TargetFolder({ignore: ['*.keep']});
  await target.apply(
    ...['a', 'b'].map((path) => putFile(path, `of ${path}`)),
    ...['d', 'e'].flatMap((path) => [makeDir(path), putFile(`${path}/in`, `of ${path}/in`)]),
  );
  writeFileSync(join(target.root, 'e/c.keep'), 'stays');
  appendFileSync(join(target.root, 'b'), ', changed');
  target.onSwitched = () => {
    throw new Error('killed');
  };
  const ops = [remove('a'), putFile('b', 'new'), remove('d', 'dir'), remove('e', 'dir')];
  await expect(target.apply(...ops)).rejects.toThrow('killed');
  expect(target.actions).toEqual([]);
  target.onSwitched = () => undefined;
  expect(await target.recover()).toBe(1);
  expect(target.actions.map(({op, path, reason}) => `${op} ${path}: ${reason}`)).toEqual([
    'delete a: deleted',
    'put-file b: replaced',
    'delete d: deleted',
    'delete e/in: deleted',
  ]);
  expect(target.actions.slice(0, 2).map(({place}) => target.kept(place))).toEqual(['of a', 'of b, changed']);
  expect(target.actions.map(({place}) => place ?? '').toSorted()).toEqual(target.items().toSorted());
});
