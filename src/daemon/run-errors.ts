/**
 * What ends a run of `sync`, as errors with codes.
 */
import {EXIT_CODE, isTowlineError, messageOf, systemErrorOf, TowlineError} from '../base/errors.ts';

/** An error without a code is a bug of ours, unless it is a failed system call. */
export function asTowlineError(error: unknown): TowlineError {
  if (isTowlineError(error)) return error;
  const failed = systemErrorOf(error);
  if (failed !== undefined) return failed;
  return new TowlineError(
    'BUG',
    `internal error: ${messageOf(error)}; please report it`,
    {what: messageOf(error)},
    {cause: error},
  );
}

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
 * Whether the state itself is the trouble: damaged, or its disk full, read-only or failing. What was not committed is
 * forgotten then, so the volume is closed and read again.
 */
export function isStateTrouble(error: unknown): boolean {
  if (!isTowlineError(error)) return false;
  if (error.code === 'STATE_DAMAGED') return true;
  return error.code === 'SYSTEM' && (error as TowlineError<'SYSTEM'>).details.syscall === 'sqlite';
}
