/**
 * How a command that failed says so: one line on stderr, and what a bug report must name.
 */
import {EXIT_CODE, type TowlineError} from '../base/errors.ts';
import {oneLine} from './text.ts';
import {versionsForReport} from './version.ts';

/** `Error: what happened and what to do`, one line; a list of faults of a configuration has a line for each below it. */
export function errorLine(error: TowlineError): string {
  if (error.code === 'USAGE' && (error.details as {isList?: true}).isList === true) {
    return `Error: ${error.message.split('\n').map(oneLine).join('\n  ')}`;
  }
  if (error.code !== 'BUG') return `Error: ${oneLine(error.message)}`;
  const {what = error.message} = error.details as {what?: string}; // an agent of another version may leave it out
  return `Error: internal error: ${oneLine(what)}; this is a bug: please report it with what you ran and ${versionsForReport()}`;
}

export function exitCodeOfError(error: TowlineError): number {
  return EXIT_CODE[error.code];
}

/** Where a bug happened, for `-v`. */
export function stackOf(error: TowlineError): string | undefined {
  return error.cause instanceof Error ? error.cause.stack : error.stack;
}
