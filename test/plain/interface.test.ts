/**
 * The plain back end has the interface of the walls, and without an attacker it does the same.
 */
import {chmodSync, linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import {pathToFileURL} from 'node:url';
import {expect, test} from 'vitest';
import {needsCommands} from '../needs.ts';
import {compareByRsync, makePair, syncOnce} from '../sync/harness.ts';
import {plainModules} from './modules.ts';

test.each(plainModules('paths', 'jail'))('everything of %s has a plain counterpart', async (real, plain) => {
  const [walls, instead] = await Promise.all(
    [real, plain].map(async (path) => Object.keys((await import(pathToFileURL(path).href)) as object)),
  );
  expect(instead).toEqual(expect.arrayContaining(walls ?? []));
  expect(basename(plain)).toBe(basename(real));
});

needsCommands('rsync')(test)('with plain paths a tree is copied and changed as with walls', async () => {
  const pair = makePair();
  mkdirSync(join(pair.source, 'dir/below'), {recursive: true});
  writeFileSync(join(pair.source, 'dir/file'), 'content', {mode: 0o640});
  writeFileSync(join(pair.source, 'dir/large'), Buffer.alloc(300_000, 1));
  linkSync(join(pair.source, 'dir/file'), join(pair.source, 'dir/below/name'));
  symlinkSync('dir/file', join(pair.source, 'link'));
  const project = join(import.meta.dirname, '../..');
  const plain = {
    main: join(project, 'src/main.ts'),
    env: {NODE_OPTIONS: `--import ${pathToFileURL(join(import.meta.dirname, 'register.ts')).href}`},
  };
  expect((await syncOnce(pair, [], plain)).exitCode).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  chmodSync(join(pair.source, 'dir'), 0o711);
  utimesSync(join(pair.source, 'dir/below'), 1, 1);
  writeFileSync(join(pair.source, 'dir/large'), Buffer.alloc(200_000, 2));
  expect((await syncOnce(pair, [], plain)).exitCode).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});
