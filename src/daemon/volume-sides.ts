/**
 * The open sides of a volume: a source for each view that is sent, a target where it is received. How they are ended.
 *
 * Invariant: a state is closed only after nothing works on the volume any more.
 */
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import type {LinkSettings} from '../config/agent-config.ts';
import {sha256} from '../model/digest.ts';
import type {SourceVolume} from './source-volume.ts';
import type {TargetVolume} from './target-volume.ts';

export interface OpenVolume {
  sources: Map<string, SourceVolume>;
  target: TargetVolume | undefined;
}

export const AGENT_STOPS = 'the agent stops';

/** What the source of a link is told when its target stops: a halt as it is, everything else as something to wait for. */
export function stopError(failure: unknown, reason: string): TowlineError | undefined {
  if (reason === AGENT_STOPS) return undefined; // the session's end says it
  if (isTowlineError(failure) && failure.code === 'HALTED') return failure;
  return new TowlineError('REFUSED', failure === undefined ? reason : messageOf(failure), {reason: 'not open'});
}

export async function stopSides({sources, target}: OpenVolume, reason: TowlineError | undefined): Promise<void> {
  await Promise.all([...[...sources.values()].map((source) => source.stop()), target?.stop(reason)]);
}

/** @throws the first error, after all were closed */
export function closeSides({sources, target}: OpenVolume): void {
  const errors: unknown[] = [];
  for (const side of [...sources.values(), ...(target === undefined ? [] : [target])]) {
    try {
      side.close();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** Resolves when the signal is aborted. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), {once: true});
  });
}

/** Links with the same view share a state. */
export function viewKey({ignore}: LinkSettings): string {
  return sha256(Buffer.from(JSON.stringify(ignore)))
    .toString('hex')
    .slice(0, 12);
}
