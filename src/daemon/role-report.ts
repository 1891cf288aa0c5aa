/**
 * What reports and the configuration's own commands say of a volume's role. Changes nothing.
 */
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {isTowlineError} from '../base/errors.ts';
import type {AgentConfig} from '../config/agent-config.ts';
import {roleInForce} from '../config/volume-role.ts';
import type {RoleReport} from '../control/agent-api.ts';
import type {VolumeRole} from '../model/role.ts';
import {openAgentFile, type AgentFile} from '../state/agent-store.ts';
import {volumeScope} from './volume-scopes.ts';

/** Undefined while nothing was ever decided. */
export function roleReport(
  {epoch, decided, superseded}: VolumeRole,
  {source, advice}: {source: string | undefined; advice: string | undefined},
): RoleReport | undefined {
  if (decided === undefined && superseded === undefined && epoch.number === 1) return undefined;
  return {
    epoch: epoch.number,
    source: source ?? null,
    by: decided?.by,
    sinceMs: decided?.sinceMs,
    superseded: superseded?.message,
    advice,
  };
}

/** A sentence where the configuration does not say what is in force. */
export function roleNotices(
  {epoch, decided}: VolumeRole,
  advice: string | undefined,
  trouble: string | undefined,
): string[] {
  const troubles = trouble === undefined ? [] : [trouble];
  if (decided === undefined || advice === undefined) return troubles;
  const at = new Date(decided.sinceMs).toISOString();
  const is = decided.source === null ? 'was promoted here' : `follows ${decided.source}`;
  return [`it ${is} at ${at} (epoch ${epoch.number}), whatever the configuration says; ${advice}`, ...troubles];
}

/** Where the configuration does not say what is in force, with or without an agent that runs. One sentence each. */
export function configNotices(config: AgentConfig): string[] {
  const {stateFolder, volumes, peers} = config;
  if (!existsSync(join(stateFolder, 'agent.db'))) return [];
  let file: AgentFile | undefined;
  try {
    file = openAgentFile({place: {folder: stateFolder}, bootId: '', isGlance: true});
    const state = file;
    return volumes.flatMap((volume) => {
      const role = state.notes(volumeScope(volume.name)).role();
      const isPeer = (name: string): boolean => peers.some((peer) => peer.name === name);
      const {advice, contradiction} = roleInForce(volume, role, isPeer);
      const said = contradiction === undefined ? roleNotices(role, advice, undefined) : [contradiction];
      return said.map((sentence) => `volume ${volume.name}: ${sentence}`);
    });
  } catch (error) {
    if (isTowlineError(error)) return []; // another user's state, or one that the agent will tell about
    throw error;
  } finally {
    file?.close();
  }
}
