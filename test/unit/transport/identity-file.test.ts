/** The identity on disk: made once, kept private, never replaced by itself. */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {loadOrCreateIdentity, readIdentity, replaceIdentity} from '../../../src/transport/identity-file.ts';
import {createIdentity} from '../../../src/transport/identity.ts';
import {needsRoot} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';

async function made(): Promise<{folder: string; path: string; id: string}> {
  const folder = makeTmpDir();
  const {id} = await loadOrCreateIdentity(folder);
  return {folder, path: join(folder, 'identity.json'), id};
}

test('I10 it is made once, with mode 0600 and nothing beside it, and read from then on', async () => {
  const {folder, path, id} = await made();
  expect(statSync(path).mode & 0o7777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(['identity.json']);
  expect(await loadOrCreateIdentity(folder)).toEqual(readIdentity(folder));
  expect(readIdentity(folder)?.id).toBe(id);
});

test('20 who start at once have one identity', async () => {
  const folder = makeTmpDir();
  const all = await Promise.all(Array.from({length: 20}, () => loadOrCreateIdentity(folder)));
  expect(new Set(all.map(({id}) => id)).size).toBe(1);
  expect(readdirSync(folder)).toEqual(['identity.json']);
});

test('a new key takes the place of the old one only when that is asked for', async () => {
  const {folder, id} = await made();
  const next = await replaceIdentity(folder);
  expect(next.id).not.toBe(id);
  expect(readIdentity(folder)).toEqual(next);
});

describe("I10 a file that is not this user's alone is refused", () => {
  test.each([0o640, 0o604, 0o660, 0o606, 0o610, 0o666])('mode %o', async (mode) => {
    const {folder, path} = await made();
    chmodSync(path, mode);
    await expect(loadOrCreateIdentity(folder)).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringMatching(/open to others.*chmod 600/),
    });
  });

  needsRoot(test)('the file of another user', async () => {
    const {folder, path} = await made();
    chownSync(path, 1234, 1234);
    await expect(loadOrCreateIdentity(folder)).rejects.toMatchObject({code: 'REFUSED'});
  });

  test('a symbolic link, and a folder', async () => {
    const {folder, path} = await made();
    renameSync(path, join(folder, 'elsewhere'));
    symlinkSync('elsewhere', path);
    await expect(loadOrCreateIdentity(folder)).rejects.toMatchObject({code: 'REFUSED'});
    const other = makeTmpDir();
    mkdirSync(join(other, 'identity.json'));
    await expect(loadOrCreateIdentity(other)).rejects.toMatchObject({code: 'REFUSED'});
  });
});

describe('a damaged file is an error, and stays as it is', () => {
  test.each<[what: string, damage: (text: string) => string | Promise<string>]>([
    ['empty', () => ''],
    ['cut', (text) => text.slice(0, 300)],
    ['no object', () => 'null'],
    ['without its key', (text) => text.replace('keyPem', 'keypem')],
    ['with another ID', (text) => text.replace(/"id": "./, '"id": "g')],
    [
      'with the certificate of another key',
      async (text) =>
        JSON.stringify({...(JSON.parse(text) as object), certificatePem: (await createIdentity()).certificatePem}),
    ],
  ])('%s', async (_, damage) => {
    const {folder, path} = await made();
    const damaged = await damage(readFileSync(path, 'utf8'));
    writeFileSync(path, damaged);
    await expect(loadOrCreateIdentity(folder)).rejects.toMatchObject({
      code: 'STATE_DAMAGED',
      message: expect.stringMatching(/identity\.json is damaged.*backup/),
    });
    expect(readFileSync(path, 'utf8')).toBe(damaged);
  });

  test('one of a newer version is told from it', async () => {
    const {folder, path} = await made();
    writeFileSync(path, readFileSync(path, 'utf8').replace('"format": 1', '"format": 2'));
    await expect(loadOrCreateIdentity(folder)).rejects.toMatchObject({code: 'STATE_NEWER'});
  });
});
