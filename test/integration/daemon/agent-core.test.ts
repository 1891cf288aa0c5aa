/** An agent's core that is stopped while it is at something else: real volumes, hooks and worker threads. */
import {existsSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import type {AgentConfig, HookConfig, VolumeConfig} from '../../../src/config/agent-config.ts';
import {AgentCore} from '../../../src/daemon/agent-core.ts';
import {sharedVolumePool} from '../../../src/daemon/volume-jobs.ts';
import {openActionLog} from '../../../src/state/action-log.ts';
import {createIdentity} from '../../../src/transport/identity.ts';
import {makeTmpDir} from '../../tmp.ts';
import {until} from '../../until.ts';
import {makeParts} from './agent-parts.ts';

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));

interface RunningCore {
  core: AgentCore;
  volume: VolumeConfig;
  /** With these volumes and nothing else. */
  configOf: (...volumes: VolumeConfig[]) => AgentConfig;
  /** Written when the resume hook of the volume begins. */
  resuming: string;
  /** Once this is there the hook ends. */
  release: string;
}

/** A core whose volume is quiesced, with a resume hook that ends when the test lets it. */
async function startQuiesced(): Promise<RunningCore> {
  const control = makeTmpDir();
  const [resuming, release] = [join(control, 'resuming'), join(control, 'release')];
  const script = `touch ${resuming}; while [ ! -e ${release} ]; do sleep 0.01; done`;
  const resume: HookConfig = {run: ['/bin/sh', '-c', script], timeoutMs: 20_000, onFailure: 'stop'};
  const {parts, config} = makeParts({receive: undefined, hooks: {quiesce: undefined, resume}});
  const limits = {workers: 2, rateBytes: 0, reserve: 0, chokidarEntries: 0};
  const configOf = (...volumes: VolumeConfig[]): AgentConfig => ({
    ...{name: 'test', listen: undefined, peers: [], volumes, limits, engines: [], notices: []},
    ...{stateFolder: parts.stateFolder, file: join(parts.stateFolder, 'towline.yaml')},
  });
  const pool = sharedVolumePool({workers: 2});
  const actions = openActionLog(join(parts.stateFolder, 'log'), {onNotice: () => undefined});
  const {clock, log, file} = parts;
  const engines = {...parts.engines, close: () => undefined};
  const told = {onChange: () => undefined, onPaired: () => undefined, onEvent: () => undefined};
  const identity = await createIdentity();
  const core = new AgentCore(configOf(), {clock, log, file, engines, pool, actions, identity, ...told});
  onTestFinished(async () => {
    writeFileSync(release, '');
    await core.stop();
    await pool.close();
    actions.close();
  });
  await core.apply(configOf(config));
  core.volumes
    .get('data')!
    .quiesce.during([], undefined, untilAborted)
    .catch(() => undefined);
  return {core, volume: config, configOf, resuming, release};
}

test('a core that is stopped while a volume is being taken out waits for its resume hook', async () => {
  const {core, configOf, resuming, release} = await startQuiesced();
  const {notes} = core.volumes.get('data')!;
  const applied = core.apply(configOf());
  await until(() => existsSync(resuming) && core.volumes.size === 0);
  let isStopped = false;
  const stopped = core.stop().then(() => (isStopped = true));
  await new Promise((resolve) => setTimeout(resolve, 200)); // what waits for nothing has ended by then
  expect([isStopped, notes.quiescedSinceMs()]).toEqual([false, expect.any(Number)]);
  writeFileSync(release, '');
  await Promise.all([stopped, applied]);
  expect(notes.quiescedSinceMs()).toBeUndefined();
});

test('a core that is stopped starts no volume, neither of the configuration at hand nor of the next one', async () => {
  const {core, volume, configOf, resuming, release} = await startQuiesced();
  const changed = core.apply(configOf({...volume, ignore: ['*.tmp']}));
  const next = core.apply(configOf(volume, {...volume, name: 'more'})).catch((error: unknown) => error);
  await until(() => existsSync(resuming));
  const stopped = core.stop();
  writeFileSync(release, '');
  await Promise.all([stopped, changed]);
  expect(core.volumes.size).toBe(0);
  expect(await next).toMatchObject({code: 'REFUSED', message: 'the agent stops'});
});
