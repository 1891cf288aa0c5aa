/**
 * What the diagnosis asks of the parts that the agent is made of, without an agent: `towline doctor` (src/cli).
 */
import {loadAgentConfig, type LoadConfigOptions} from '../config/load-config.ts';
import type {AgentConfig, EngineConfig} from '../config/agent-config.ts';
import {TowlineError} from '../base/errors.ts';
import {EngineClient} from '../engine/engine-client.ts';
import {askEngine as ask} from '../engine/engine-request.ts';
import {findRoot as find, type FoundRoot} from '../engine/find-root.ts';
import type {Address} from '../model/address.ts';
import type {Identity} from '../transport/identity.ts';
import {readIdentity} from '../transport/identity-file.ts';
import {configNotices} from './role-report.ts';

const ENGINE_LIMITS = {deadlineMs: 5_000, bytesMax: 64 * 1024}; // an answer to /version has about 1 KiB

export {configNotices};

/** @throws TowlineError USAGE */
export function loadConfig(options: LoadConfigOptions): AgentConfig {
  const config = loadAgentConfig(options);
  return {...config, notices: [...config.notices, ...configNotices(config)]};
}

/** @throws TowlineError REFUSED, STATE_DAMAGED, STATE_NEWER, SYSTEM */
export function loadIdentity(stateFolder: string): Identity | undefined {
  return readIdentity(stateFolder);
}

/** @throws TowlineError ROOT_MISSING, SYSTEM, USAGE */
export function findRoot(address: Address, {engines}: AgentConfig): Promise<FoundRoot> {
  return find(address, {
    clientOf: (name) => {
      const engine = engines.find((one) => one.engine === name);
      if (engine === undefined) throw new TowlineError('USAGE', `no engine ${name} is configured`, {hint: 'engines:'});
      return new EngineClient(engine);
    },
  });
}

/** @throws TowlineError SYSTEM */
export function askEngine(engine: EngineConfig, path: string): Promise<{status: number; body: Buffer}> {
  return ask(engine, path, ENGINE_LIMITS);
}
