/**
 * Small judgements of the agent's core about a configuration and the host. No state.
 */
import {readFileSync} from 'node:fs';
import type {Clock} from '../base/clock.ts';
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import {Pace} from '../base/pace.ts';
import type {AgentConfig} from '../config/agent-config.ts';

/** @throws USAGE */
export function checkPeers({peers, file}: AgentConfig, ownId: string): void {
  const self = peers.find(({id}) => id === ownId);
  if (self === undefined) return;
  const hint = 'name the ID that towline id prints on the other host';
  throw new TowlineError('USAGE', `${file}: peer ${self.name} has the ID of this agent itself; ${hint}`, {hint});
}

/** Of all links together: the one at hand while its rate is the configured one. */
export function paceFor(
  next: AgentConfig,
  before: AgentConfig,
  pace: Pace | undefined,
  clock: Clock,
): Pace | undefined {
  const {rateBytes} = next.limits;
  if (rateBytes === before.limits.rateBytes && (pace !== undefined || rateBytes === 0)) return pace;
  return rateBytes === 0 ? undefined : new Pace(rateBytes, clock);
}

/** The mounts of this host, as text. */
export function readMounts(): string {
  try {
    return readFileSync('/proc/self/mountinfo', 'latin1');
  } catch (error) {
    return isTowlineError(error) ? '' : messageOf(error);
  }
}
