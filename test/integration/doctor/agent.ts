/**
 * Configurations as the loader would give them, and the diagnosis of one, for the tests of `doctor`.
 */
import {systemClock} from '../../../src/base/clock.ts';
import {TowlineError} from '../../../src/base/errors.ts';
import type {AgentConfig, VolumeConfig} from '../../../src/config/agent-config.ts';
import {DEFAULTS} from '../../../src/config/link-settings.ts';
import {examine, type ExamineParts} from '../../../src/control/doctor/examine.ts';
import type {Finding} from '../../../src/control/doctor/finding.ts';
import {createIdentity, type Identity} from '../../../src/transport/identity.ts';

export const own: Identity = await createIdentity();
export const peer: Identity = await createIdentity();

export function configOf(over: Partial<AgentConfig> & {stateFolder: string}): AgentConfig {
  return {
    name: 'web-1',
    listen: undefined,
    file: '/etc/towline/towline.yaml',
    peers: [],
    volumes: [],
    limits: {workers: 2, rateBytes: 0, reserve: 0.05, chokidarEntries: 50_000},
    engines: [],
    notices: [],
    ...over,
  };
}

/** @param direction what the volume does with the peer `db-2` */
export function volumeOf(name: string, path: string, direction: 'send' | 'receive'): VolumeConfig {
  const settings = {
    when: {kind: 'live'},
    watch: 'auto',
    special: 'keep',
    settleMs: 50,
    maxWaitMs: 2_000,
    hot: 'wait',
    rescanMs: 3_600_000,
    durability: 'batch',
    deleteLimits: {count: 10_000, share: 0.5, shareFrom: 20},
    trash: {keepMs: 0, sizeBytes: 0},
    rateBytes: 0,
    drift: 'repair',
    inPlaceAbove: undefined,
    extents: 'off',
  } as const;
  const lists = {ignore: [], ids: [], accept: DEFAULTS.accept};
  return {
    ...settings,
    ...lists,
    name,
    at: {kind: 'path', path},
    send: direction === 'send' ? [{...settings, ...lists, to: 'db-2', as: name}] : [],
    hooks: {quiesce: undefined, resume: undefined},
    receive: direction === 'receive' ? {from: 'db-2', ignorePin: undefined} : undefined,
  };
}

/** What is found of an area (`volume x`, `peer y`, …). */
export async function findingsOf(
  area: string,
  config: AgentConfig,
  parts: Partial<ExamineParts> = {},
): Promise<Finding[]> {
  return (await diagnose(config, parts)).filter((found) => found.area === area);
}

/** Everything that is found. */
export function diagnose(config: AgentConfig, parts: Partial<ExamineParts> = {}): Promise<Finding[]> {
  return examine({
    loadConfig: () => config,
    loadIdentity: () => own,
    findRoot: (address) =>
      address.kind === 'path'
        ? Promise.resolve({path: address.path, beside: undefined})
        : Promise.reject(new TowlineError('ROOT_MISSING', 'there is no such volume', {path: ''})),
    askEngine: ({socket}) =>
      Promise.reject(
        new TowlineError('SYSTEM', `${socket} is not there`, {syscall: 'connect', errno: 'ENOENT', path: socket}),
      ),
    clock: systemClock,
    onFinding: () => {},
    ...parts,
  });
}
