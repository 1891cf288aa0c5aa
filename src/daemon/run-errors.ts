/**
 * What ends a run of `sync`, as errors with codes.
 */
import {basename} from 'node:path';
import {EXIT_CODE, isTowlineError, TowlineError} from '../base/errors.ts';

/** Why a run whose signal was aborted ends. */
export function cancelled(signal: AbortSignal): TowlineError {
  const {reason} = signal as {reason: unknown};
  return isTowlineError(reason)
    ? reason
    : new TowlineError('CANCELLED', 'stopped before it was done', {signal: 'SIGINT'});
}

/** Of a run that was not halted or cut: 0 only when everything is equal and no path has a problem. */
export function exitCodeOf(
  error: TowlineError | undefined,
  isInSync: boolean,
  problemCount: number,
  isDryRun: boolean,
): number {
  if (error !== undefined) return EXIT_CODE[error.code];
  return problemCount === 0 && (isInSync || isDryRun) ? 0 : 1;
}

/**
 * Whether the state of a volume is the trouble: damaged, or its disk full, read-only or failing. What was not committed
 * is forgotten then, so the volume is closed and read again. That mends no damage of `agent.db`.
 */
export function isStateTrouble(error: unknown): boolean {
  if (!isTowlineError(error)) return false;
  if (error.code === 'STATE_DAMAGED')
    return basename((error as TowlineError<'STATE_DAMAGED'>).details.path) !== 'agent.db';
  return error.code === 'SYSTEM' && (error as TowlineError<'SYSTEM'>).details.syscall === 'sqlite';
}
