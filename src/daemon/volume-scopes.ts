/**
 * Under which names an agent's notes of a volume and of its links stand in agent.db.
 */
import type {AgentFile} from '../state/agent-store.ts';

export function volumeScope(volume: string): string {
  return `volume/${volume}`;
}

export function sendScope(volume: string, peer: string, as: string): string {
  return `send/${volume}/${peer}/${as}`;
}

export function receiveScope(volume: string): string {
  return `receive/${volume}`;
}

/** Drops everything that is remembered of a volume. */
export function forgetVolume(file: AgentFile, volume: string): void {
  const own = [volumeScope(volume), receiveScope(volume)];
  for (const scope of file.scopes())
    if (own.includes(scope) || scope.startsWith(`send/${volume}/`)) file.notes(scope).forget();
}
