/**
 * A real Docker engine: volumes and mounts found on the host, what running containers have mounted, an engine that
 * restarts. One engine for the whole file.
 */
import {existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../src/base/clock.ts';
import {openEngines, type EngineChange, type Engines} from '../../src/engine/engines.ts';
import {closeFd, openDirPath} from '../../src/linux/open-fd.ts';
import type {Address} from '../../src/model/address.ts';
import {findPlaces} from '../../src/volume/places.ts';
import {needsDocker, startDockerEngine, type DockerEngine} from '../hosts/engines.ts';
import {makeTmpDir} from '../tmp.ts';
import {until} from '../until.ts';

const volume = (name: string): Address => ({kind: 'volume', engine: 'docker', volume: name});
const mounted = (container: string, mount: string): Address => ({
  kind: 'container',
  engine: 'docker',
  container,
  mount,
});

needsDocker(describe)('a Docker engine', () => {
  let engine: DockerEngine;
  let docker: DockerEngine['docker'];
  let bound: string;

  beforeAll(async () => {
    engine = await startDockerEngine();
    docker = engine.docker;
    bound = makeTmpDir('file');
  });

  function open(): {engines: Engines; changes: EngineChange[]} {
    const engines = openEngines([{engine: 'docker', socket: engine.socket, isConfigured: true}], {clock: systemClock});
    onTestFinished(() => engines.close());
    const changes: EngineChange[] = [];
    engines.onChange((change) => changes.push(change));
    return {engines, changes};
  }

  /** Waits until events come through: a volume that is made is told of. */
  async function untilFollowed(changes: EngineChange[], name: string): Promise<void> {
    await until(() => {
      docker('volume', 'create', name);
      docker('volume', 'rm', name);
      return changes.some((change) => change.kind === 'volume' && change.volume === name);
    });
  }

  describe('K1 what an address names is found on the host', () => {
    beforeAll(() => {
      docker('volume', 'create', 'named');
      mkdirSync(join(bound, 'in'));
      engine.run('k1', '-v', 'named:/named', '-v', '/anonymous', '-v', `${bound}/in:/bound/`, '--tmpfs', '/tmpfs');
      docker('exec', 'k1', 'sh', '-c', 'for d in named anonymous bound tmpfs; do echo $d > /$d/file; done');
    });

    test.each([
      {title: 'a volume by name', address: volume('named'), holds: 'named', isVolume: true},
      {title: 'a volume by container and mount', address: mounted('k1', '/named'), holds: 'named', isVolume: true},
      {title: 'an anonymous volume', address: mounted('k1', '/anonymous/'), holds: 'anonymous', isVolume: true},
      {title: 'a bind mount', address: mounted('k1', '/bound'), holds: 'bound', isVolume: false},
    ])('K1 $title', async ({address, holds, isVolume}) => {
      const found = await open().engines.findRoot(address);
      expect(readFileSync(join(found.path, 'file'), 'utf8')).toBe(`${holds}\n`);
      expect(found.beside).toBe(isVolume ? join(found.path, '..') : undefined);
      expect(found.what).toMatch(/^(the docker volume named|what the docker container k1 has at \/)/);
    });

    test('K1 staging goes beside the data folder of the volume, unseen by the container', async () => {
      const {path, beside} = await open().engines.findRoot(volume('named'));
      const fd = openDirPath(path);
      const places = findPlaces(fd, path, makeTmpDir(), beside);
      closeFd(fd);
      expect(places.staging).toBe(join(beside!, '.towline/staging'));
      expect(docker('exec', 'k1', 'ls', '-A', '/named')).toBe('file');
    });

    test('K1 the folder that an engine calls a volume stays usable with staging beside it', async () => {
      docker('volume', 'create', 'staged');
      const {path, beside} = await open().engines.findRoot(volume('staged'));
      const fd = openDirPath(path);
      findPlaces(fd, path, makeTmpDir(), beside);
      closeFd(fd);
      expect(
        docker('run', '--rm', '--network=none', '-v', 'staged:/d', 'box', 'sh', '-c', 'echo x > /d/f; cat /d/f'),
      ).toBe('x');
      docker('volume', 'rm', 'staged');
      expect(existsSync(beside!)).toBe(false);
    });

    test.each([
      {title: 'no such volume', address: volume('nope'), says: 'docker:nope: there is no docker volume nope'},
      {title: 'no such container', address: mounted('nope', '/x'), says: 'there is no docker container nope'},
      {
        title: 'no such mount',
        address: mounted('k1', '/named/file'),
        says: /has nothing mounted at \/named\/file; it has .*\/named \(volume named\)/,
      },
    ])('$title: ROOT_MISSING', async ({address, says}) => {
      const found = open().engines.findRoot(address);
      await expect(found).rejects.toMatchObject({code: 'ROOT_MISSING'});
      await expect(found).rejects.toThrow(says);
    });

    test('what cannot be used is told in a sentence', async () => {
      docker('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', 'in-memory');
      docker('volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${bound}`, 'elsewhere');
      const {engines} = open();
      const refusals: [Address, string][] = [
        [mounted('k1', '/tmpfs'), 'is a tmpfs, in memory only'],
        [volume('in-memory'), 'is a mount of tmpfs that is there only while a container uses it'],
        [volume('elsewhere'), `write the folder instead: path:${bound}`],
        [volume('../k1'), 'the name holds other characters'],
        [{kind: 'volume', engine: 'podman', volume: 'x'}, 'no podman engine is known'],
      ];
      for (const [address, says] of refusals) {
        const found = engines.findRoot(address);
        await expect(found).rejects.toMatchObject({code: 'USAGE'});
        await expect(found).rejects.toThrow(says);
      }
    });

    test('a container is not found by the beginning of another one’s ID', async () => {
      const id = docker('inspect', '-f', '{{.Id}}', 'k1');
      const {engines} = open();
      await expect(engines.findRoot(mounted(id.slice(0, 4), '/named'))).rejects.toMatchObject({code: 'ROOT_MISSING'});
      expect((await engines.findRoot(mounted(id.slice(0, 12), '/named'))).path).toContain('/named/_data');
    });
  });

  test('F13 mounts of a running container below a volume are known, and gone with it', async () => {
    writeFileSync(join(bound, 'app.yml'), 'a: 1\n');
    docker('volume', 'create', 'outer');
    const {engines, changes} = open();
    const {path} = await engines.findRoot(volume('outer'));
    expect(await engines.protectedBelow(path)).toEqual([]);
    await untilFollowed(changes, 'f13');
    const mounts = [
      '-v',
      'outer:/data',
      '-v',
      'inner:/data/sub/inner',
      '-v',
      '/data/anonymous',
      '--tmpfs',
      '/data/tmp',
    ];
    docker(
      'create',
      '--name',
      'f13-created',
      '--network=none',
      '-v',
      'outer:/data',
      '-v',
      '/data/never',
      'box',
      'sleep',
      '9',
    );
    engine.run('f13', ...mounts, '-v', `${bound}/app.yml:/data/app.yml`, '--mount', 'type=tmpfs,dst=/data/memory');
    const expected = ['anonymous', 'app.yml', 'memory', 'sub/inner', 'tmp'];
    expect(await engines.protectedBelow(path)).toEqual(expected);
    // The judge: what the container itself sees as mount points below /data.
    const points = docker('exec', 'f13', 'cat', '/proc/mounts')
      .split('\n')
      .map((line) => line.split(' ')[1]!);
    expect(points.filter((point) => point.startsWith('/data/')).sort()).toEqual(
      expected.map((each) => `/data/${each}`),
    );
    docker('pause', 'f13');
    expect(await engines.protectedBelow(path)).toEqual(expected);
    docker('rm', '-f', 'f13', 'f13-created');
    await until(async () => (await engines.protectedBelow(path)).length === 0);
  });

  test('F13 the engine’s own files in a volume at /etc, and files of a volume that are bound elsewhere', async () => {
    docker('volume', 'create', 'etc');
    const {engines} = open();
    const {path} = await engines.findRoot(volume('etc'));
    writeFileSync(join(path, 'one.conf'), '1\n');
    engine.run('f13-etc', '-v', 'etc:/etc', '-v', `${path}/one.conf:/one.conf`);
    expect(await engines.protectedBelow(path)).toEqual(['hostname', 'hosts', 'one.conf', 'resolv.conf']);
    docker('rm', '-f', 'f13-etc');
  });

  test('F13 a mount through a symlink of the volume is known where it really lies', async () => {
    docker('volume', 'create', 'linked');
    const {engines} = open();
    const {path} = await engines.findRoot(volume('linked'));
    mkdirSync(join(path, 'releases/5/uploads'), {recursive: true});
    symlinkSync('releases/5', join(path, 'current'));
    engine.run('f13-linked', '-v', 'linked:/data', '-v', 'uploads:/data/current/uploads');
    expect(await engines.protectedBelow(path)).toEqual(['releases/5/uploads']);
    docker('rm', '-f', 'f13-linked');
  });

  test('F13 what a container has mounted itself, later, is known', async () => {
    docker('volume', 'create', 'own');
    const {engines} = open();
    const {path} = await engines.findRoot(volume('own'));
    engine.run('f13-own', '--cap-add=SYS_ADMIN', '--security-opt=apparmor=unconfined', '-v', 'own:/data');
    expect(await engines.protectedBelow(path)).toEqual([]);
    docker('exec', 'f13-own', 'sh', '-c', 'mkdir /data/late && mount -t tmpfs tmpfs /data/late');
    await until(async () => (await engines.protectedBelow(path)).includes('late'));
    docker('rm', '-f', 'f13-own');
  });

  test('K2 the engine restarts: known mounts hold while it is away, then events and questions go on', async () => {
    docker('volume', 'create', 'k2');
    engine.run('k2', '-v', 'k2:/data', '--tmpfs', '/data/tmp');
    const {engines, changes} = open();
    const {path} = await engines.findRoot(volume('k2'));
    expect(await engines.protectedBelow(path)).toEqual(['tmp']);
    await untilFollowed(changes, 'k2-before');
    await engine.stop();
    await until(() => changes.some(({kind}) => kind === 'gone'));
    expect(await engines.protectedBelow(path)).toEqual(['tmp']);
    await expect(engines.findRoot(volume('k2'))).rejects.toMatchObject({code: 'SYSTEM', details: {errno: 'ENOENT'}});
    await engine.start();
    await until(() => changes.some(({kind}) => kind === 'back'));
    expect((await engines.findRoot(volume('k2'))).path).toBe(path);
    await until(async () => (await engines.protectedBelow(path)).length === 0); // the container ended with the engine
    await untilFollowed(changes, 'k2-after');
    docker('start', 'k2');
    expect(await engines.protectedBelow(path)).toEqual(['tmp']);
  });

  test('K3 volumes and containers that go and come are told', async () => {
    const {engines, changes} = open();
    docker('volume', 'create', 'k3');
    await engines.findRoot(volume('k3'));
    await untilFollowed(changes, 'k3-first');
    engine.run('k3', '-v', 'k3:/data');
    docker('rm', '-f', 'k3');
    docker('volume', 'rm', 'k3');
    await expect(engines.findRoot(volume('k3'))).rejects.toMatchObject({code: 'ROOT_MISSING'});
    docker('volume', 'create', 'k3');
    const told = (): string[] =>
      changes.flatMap((change) => {
        if (change.kind === 'volume' && change.volume === 'k3') return [`volume ${change.action}`];
        return change.kind === 'container' && change.container === 'k3' ? [`container ${change.action}`] : [];
      });
    await until(
      () => told().filter((each) => each === 'volume create').length === 1 && told().includes('volume destroy'),
    );
    expect(told()).toEqual(
      expect.arrayContaining([
        'container start',
        'volume mount',
        'container die',
        'container destroy',
        'volume destroy',
      ]),
    );
  });
});
