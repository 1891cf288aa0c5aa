/**
 * Podman's service, which speaks Docker's API: volumes and mounts are found there too, its events are understood.
 */
import {join} from 'node:path';
import {beforeAll, describe, expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../src/base/clock.ts';
import {openEngines, type EngineChange, type Engines} from '../../src/engine/engines.ts';
import type {Address} from '../../src/model/address.ts';
import {needsPodman, startPodmanEngine, type PodmanEngine} from '../hosts/engines.ts';
import {makeTmpDir} from '../tmp.ts';
import {until} from '../until.ts';

const volume = (name: string): Address => ({kind: 'volume', engine: 'podman', volume: name});
const mounted = (mount: string): Address => ({kind: 'container', engine: 'podman', container: 'k1', mount});

needsPodman(describe)('Podman', () => {
  let engine: PodmanEngine;
  let bound: string;

  beforeAll(async () => {
    bound = makeTmpDir('file');
    engine = await startPodmanEngine();
    engine.podman('volume', 'create', 'named');
    const mounts = ['-v', 'named:/named', '-v', '/anonymous', '-v', `${bound}:/bound`, '--tmpfs', '/named/tmp'];
    engine.podman('create', '--name', 'k1', '--network=none', ...mounts, 'box', 'sleep', '9');
  });

  function open(): Engines {
    const engines = openEngines([{engine: 'podman', socket: engine.socket, isConfigured: true}], {clock: systemClock});
    onTestFinished(() => engines.close());
    return engines;
  }

  test('K1 a volume by name, by container and mount, anonymous; a bind mount', async () => {
    const engines = open();
    const named = engine.podman('volume', 'inspect', '-f', '{{.Mountpoint}}', 'named');
    expect(await engines.findRoot(volume('named'))).toEqual({
      path: named,
      beside: join(named, '..'),
      what: 'the podman volume named',
    });
    expect((await engines.findRoot(mounted('/named'))).path).toBe(named);
    expect((await engines.findRoot(mounted('/anonymous'))).path).toMatch(/\/volumes\/[0-9a-f]{64}\/_data$/);
    expect((await engines.findRoot(mounted('/bound'))).path).toBe(bound);
  });

  test('what is not there is missing; what cannot be used is told', async () => {
    const engines = open();
    await expect(engines.findRoot(volume('name'))).rejects.toMatchObject({code: 'ROOT_MISSING'});
    await expect(engines.findRoot(mounted('/nope'))).rejects.toThrow('nothing mounted at /nope; it has');
    await expect(engines.findRoot(mounted('/named/tmp'))).rejects.toThrow('is a tmpfs');
  });

  test('F13 a container that was only created protects nothing', async () => {
    const engines = open();
    const {path} = await engines.findRoot(volume('named'));
    expect(await engines.protectedBelow(path)).toEqual([]);
  });

  test('K2 K3 its events are told, also after a restart', async () => {
    const engines = open();
    const changes: EngineChange[] = [];
    engines.onChange((change) => changes.push(change));
    await engines.findRoot(volume('named'));
    const isTold = (name: string, action: string): boolean =>
      changes.some((change) => change.kind === 'volume' && change.volume === name && change.action === action);
    const untilTold = (name: string): Promise<void> =>
      until(() => {
        engine.podman('volume', 'create', name);
        engine.podman('volume', 'rm', name);
        return isTold(name, 'create') && isTold(name, 'remove');
      });
    await untilTold('before');
    await engine.restart();
    await untilTold('after');
    expect(changes.map(({kind}) => kind)).toEqual(expect.arrayContaining(['gone', 'back']));
  });
});
