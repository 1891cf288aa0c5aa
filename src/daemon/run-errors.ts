/**
 * What ends a run of `sync`, as errors with codes.
 */
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';

/** An error without a code is a bug of ours. */
export function asTowlineError(error: unknown): TowlineError {
  if (isTowlineError(error)) return error;
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
