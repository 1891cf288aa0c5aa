/**
 * What ends a link, as an error and as the message that tells the peer: both directions, so that they stay in step.
 *
 * Invariant: a halt reaches the other side with its kind, its count and its limit.
 */
import {bug, TowlineError, type HaltKind} from '../base/errors.ts';
import type {LinkPort} from './link-port.ts';
import type {MessageOf} from '../wire/messages.ts';

/** The message that tells the source why its link ends. */
export function refusalMessage(link: number, error: TowlineError): MessageOf<'link-refused'> {
  // Of a bug only what it was: the other side's error says the rest again.
  const message = error.code === 'BUG' ? (error as TowlineError<'BUG'>).details.what : error.message;
  if (error.code !== 'HALTED') return {kind: 'link-refused', link, code: error.code, message, count: 0, limit: 0};
  const {kind, count, limit} = (error as TowlineError<'HALTED'>).details;
  return {kind: 'link-refused', link, code: `HALTED:${kind}`, message, count, limit};
}

/** Ends a link that a source has opened; whatever it says still is dropped. */
export function refusePort(port: LinkPort, error: TowlineError): void {
  port.onMessage = () => undefined;
  port.send(refusalMessage(port.link, error));
  port.close(error);
}

/** The error that a refusal stands for. */
export function refusalError(refusal: MessageOf<'link-refused'>, volume: string): TowlineError {
  const {message, count, limit} = refusal;
  const [code, kind] = refusal.code.split(':');
  switch (code) {
    case 'HALTED':
      return new TowlineError('HALTED', message, {kind: kind as HaltKind, volume, count, limit});
    case 'ROOT_MISSING':
      return new TowlineError('ROOT_MISSING', message, {path: volume});
    case 'NOT_AUTHORISED':
      return new TowlineError('NOT_AUTHORISED', message, {peer: ''});
    case 'SYSTEM':
      return new TowlineError('SYSTEM', message, {syscall: 'of the peer', errno: '', path: volume});
    case 'STATE_NEWER':
      return new TowlineError('STATE_NEWER', message, {found: 0, known: 0});
    case 'STATE_DAMAGED':
      return new TowlineError('STATE_DAMAGED', message, {path: volume, what: 'the state of the peer'});
    case 'BUG':
      return bug(message);
    default:
      return new TowlineError('REFUSED', message, {reason: refusal.code});
  }
}

/** The halt of a link whose deletes are too many, seen by the source. */
export function haltedByDeletes(
  verdict: {kind: HaltKind; count: number; limit: number; isWithinHour?: boolean},
  treeCount: number,
  volume: string,
): TowlineError {
  const {kind, count, limit} = verdict;
  const message = `${whatWouldGo(verdict, treeCount)}. Look at the source; if that is right, confirm ${count}`;
  return new TowlineError('HALTED', message, {kind, volume, count, limit});
}

function whatWouldGo(
  {kind, count, limit, isWithinHour}: {kind: HaltKind; count: number; limit: number; isWithinHour?: boolean},
  treeCount: number,
): string {
  if (isWithinHour === true) {
    return kind === 'root-emptied'
      ? `the source is empty, and ${count} entries of the target would be deleted within an hour, the last one among them`
      : `${count} entries of the target would be deleted within an hour; the limit is ${limit}`;
  }
  return kind === 'root-emptied'
    ? `the source is empty, and all ${treeCount} entries of the target would be deleted`
    : `${count} of ${treeCount} entries of the target would be deleted; the limit is ${limit}`;
}
