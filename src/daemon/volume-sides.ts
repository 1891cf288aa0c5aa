/**
 * The open sides of a volume: sources for what is sent, a target where it is received. How they are ended.
 *
 * Invariant: a state is closed only after nothing works on the volume any more.
 */
import {endTogether} from '../base/end-all.ts';
import {EXIT_CODE, isTowlineError, messageOf, TowlineError, type ErrorCode} from '../base/errors.ts';
import type {SourcePool} from './source-pool.ts';
import type {TargetVolume} from './target-volume.ts';

export interface OpenVolume {
  sources: SourcePool | undefined;
  target: TargetVolume | undefined;
}

export const AGENT_STOPS = 'the agent stops';

/** What a single run does not wait for, with its exit code. */
export const FINAL: Partial<Record<ErrorCode, number>> = Object.fromEntries(
  (['USAGE', 'ROOT_MISSING', 'HALTED', 'LOCKED', 'REFUSED', 'STATE_NEWER', 'STATE_DAMAGED', 'BUG'] as const).map(
    (code) => [code, EXIT_CODE[code]],
  ),
);

/** What the source of a link is told when its target stops: a halt as it is, everything else as something to wait for. */
export function stopError(failure: unknown, reason: string): TowlineError | undefined {
  if (reason === AGENT_STOPS) return undefined; // the session's end says it
  if (isTowlineError(failure) && failure.code === 'HALTED') return failure;
  return new TowlineError('REFUSED', failure === undefined ? reason : messageOf(failure), {reason: 'not open'});
}

/** @throws the first error, after both have ended */
export async function stopSides({sources, target}: OpenVolume, reason: TowlineError | undefined): Promise<void> {
  await endTogether([sources?.stop(), target?.stop(reason)]);
}

/** As `OpenState.endedBy`. */
export function sidesEndedBy({sources, target}: OpenVolume, error: unknown): void {
  sources?.endedBy(error);
  target?.opened.endedBy(error);
}

/** @throws the first error, after all were closed */
export function closeSides({sources, target}: OpenVolume): void {
  try {
    sources?.close();
  } finally {
    target?.close();
  }
}

/** Resolves when the signal is aborted. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), {once: true});
  });
}
