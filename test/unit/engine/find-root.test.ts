import {chownSync} from 'node:fs';
import {expect, test} from 'vitest';
import {EngineClient} from '../../../src/engine/engine-client.ts';
import {findRoot} from '../../../src/engine/find-root.ts';
import type {Address} from '../../../src/model/address.ts';
import {needsRoot} from '../../needs.ts';
import {standIn, type Answer} from './stand-in.ts';

const WEB: Address = {kind: 'container', engine: 'docker', container: 'web', mount: '/data'};
const PG: Address = {kind: 'volume', engine: 'docker', volume: 'pg'};

async function find(address: Address, answers: Record<string, Answer>) {
  const {at} = await standIn(answers);
  return findRoot(address, {clientOf: () => new EngineClient(at)});
}

const container = (mount: object, more: object = {}): Record<string, Answer> => ({
  '/containers/web/json': {Id: 'a'.repeat(64), Name: '/web', Mounts: [mount], ...more},
});
const volume = (fields: object): Record<string, Answer> => ({'/volumes/pg': {Name: 'pg', Driver: 'local', ...fields}});

test('K1 an anonymous volume of a container that never ran has no source yet: the volume tells', async () => {
  const answers = {
    ...container({Type: 'volume', Name: 'pg', Source: '', Destination: '/data'}),
    ...volume({Mountpoint: '/v/pg/_data'}),
  };
  expect(await find(WEB, answers)).toMatchObject({path: '/v/pg/_data', beside: '/v/pg'});
});

test('a volume whose data folder has another name has no folder beside it', async () => {
  expect(await find(PG, volume({Mountpoint: '/mnt/pg', Options: {}}))).toMatchObject({
    path: '/mnt/pg',
    beside: undefined,
  });
});

test.each([
  {
    title: 'another driver',
    fields: {Driver: 'nfs\n'},
    says: 'is kept by the driver nfs\\n; only volumes of the driver',
  },
  {
    title: 'an NFS mount',
    fields: {Options: {type: 'nfs', o: 'addr=x', device: ':/x'}},
    says: 'is a mount of :/x that is',
  },
  {title: 'no folder', fields: {Mountpoint: 'C:\\x'}, says: 'has no folder on this host'},
])('a volume with $title: USAGE', async ({fields, says}) => {
  const found = find(PG, volume({Mountpoint: '/v/pg/_data', ...fields}));
  await expect(found).rejects.toMatchObject({code: 'USAGE'});
  await expect(found).rejects.toThrow(says);
});

test('a size as a volume’s option is no mount', async () => {
  const fields = {Mountpoint: '/v/pg/_data', Options: {size: '1g', type: ''}};
  expect((await find(PG, volume(fields))).path).toBe('/v/pg/_data');
});

test('a folder within a volume is refused: a container may have put a link there', async () => {
  const mount = {Type: 'volume', Name: 'pg', Source: '/v/pg/_data', Destination: '/data'};
  const settings = {HostConfig: {Mounts: [{Target: '/data', VolumeOptions: {Subpath: 'in'}}]}};
  await expect(find(WEB, container(mount, settings))).rejects.toThrow(
    'is the folder in of a volume; name the whole volume',
  );
});

test('a mount whose volume is gone: ROOT_MISSING', async () => {
  const answers = container({Type: 'volume', Name: 'pg', Source: '/v/pg/_data', Destination: '/data'});
  await expect(find(WEB, answers)).rejects.toMatchObject({code: 'ROOT_MISSING'});
});

test('of 100 mounts ten are listed; the engine’s own are not', async () => {
  const Mounts = Array.from({length: 100}, (_, index) => ({Type: 'bind', Source: '/x', Destination: `/m${index}`}));
  const found = find(WEB, container({}, {Mounts, HostsPath: '/x'}));
  await expect(found).rejects.toThrow(
    /has nothing mounted at \/data; it has (\/m\d \(bind\), ){9}\/m9 \(bind\) and 90 more$/,
  );
  await expect(find(WEB, container({}, {HostsPath: '/x'}))).rejects.toThrow('it has no mounts');
});

needsRoot(test)('the socket of an ordinary user: rootless engines cannot be used yet', async () => {
  const {at} = await standIn(volume({Mountpoint: '/v/pg/_data'}));
  chownSync(at.socket, 1_000, 1_000);
  const found = findRoot(PG, {clientOf: () => new EngineClient(at)});
  await expect(found).rejects.toMatchObject({code: 'USAGE'});
  await expect(found).rejects.toThrow('belongs to user 1000: rootless engines cannot be used yet');
});
