/**
 * The parts of a running agent without its network: real workers, a real inotify thread, a state folder of the test's own.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {onTestFinished} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import type {VolumeConfig} from '../../../src/config/agent-config.ts';
import {DEFAULTS} from '../../../src/config/link-settings.ts';
import type {AgentParts} from '../../../src/daemon/agent-parts.ts';
import {sharedVolumePool} from '../../../src/daemon/volume-jobs.ts';
import {openAgentFile} from '../../../src/state/agent-store.ts';
import {SILENT_LOG} from '../../../src/telemetry/log.ts';
import {InotifyThread} from '../../../src/watch/inotify-thread.ts';
import {MappedFiles} from '../../../src/watch/mapped-files.ts';
import {makeTmpDir} from '../../tmp.ts';

export interface Made {
  parts: AgentParts;
  /** Of the volume `data`. */
  root: string;
  config: VolumeConfig;
}

/** @param changes what of the configuration is not the default */
export function makeParts(changes: Partial<VolumeConfig> = {}): Made {
  const folder = makeTmpDir();
  const [root, stateFolder] = [join(folder, 'root'), join(folder, 'state')];
  mkdirSync(root);
  mkdirSync(join(stateFolder, 'volumes'), {recursive: true, mode: 0o700});
  const file = openAgentFile({place: {folder: stateFolder}, bootId: ''});
  const pool = sharedVolumePool({workers: 2});
  const watchThread = new InotifyThread();
  onTestFinished(async () => {
    await pool.close();
    await watchThread.close();
    file.close();
  });
  const config: VolumeConfig = {
    ...DEFAULTS,
    name: 'data',
    hooks: {quiesce: undefined, resume: undefined},
    at: {kind: 'path', path: root},
    send: [],
    receive: {from: 'source', ignorePin: undefined},
    ...changes,
  };
  const found = {path: root, beside: undefined};
  const parts: AgentParts = {
    ...{clock: systemClock, log: SILENT_LOG, stateFolder, file, watchThread},
    engines: {
      findRoot: () => Promise.resolve(found),
      protectedBelow: () => Promise.resolve([]),
      onChange: () => () => undefined,
    },
    mapped: new MappedFiles({}, {clock: systemClock}),
    pace: () => undefined,
    mounts: () => '',
    jobsFor: (data) => pool.scope(data),
    forgetRoot: () => undefined,
    peer: () => undefined,
    onActions: () => undefined,
    onChange: () => undefined,
  };
  return {parts, root, config};
}
