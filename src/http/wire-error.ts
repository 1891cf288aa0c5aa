/**
 * Errors as they go over HTTP: code, sentence, details, and a status that fits. Never a stack.
 */
import {EXIT_CODE, TowlineError, type ErrorCode} from '../base/errors.ts';

export interface WireError {
  code: string;
  message: string;
  details: object;
}

/** Of an answer that failed; 404 and 405 are left to routes that are not there. */
export const HTTP_STATUS: Record<ErrorCode, number> = {
  USAGE: 400,
  ROOT_MISSING: 409,
  HALTED: 409,
  NOT_AUTHORISED: 403,
  PEER_LOST: 504,
  LOCKED: 423,
  INTEGRITY: 500,
  REFUSED: 409,
  PROTOCOL: 502,
  SYSTEM: 500,
  STATE_NEWER: 500,
  STATE_DAMAGED: 500,
  CANCELLED: 503,
  BUG: 500,
};

export function toWire({code, message, details}: TowlineError): WireError {
  return {code, message, details};
}

/** The error that the other side threw, or undefined when this is none. */
export function fromWire(value: unknown): TowlineError | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const {code, message, details} = value as Partial<WireError>;
  if (typeof code !== 'string' || !Object.hasOwn(EXIT_CODE, code) || typeof message !== 'string') return undefined;
  const payload = typeof details === 'object' && details !== null ? details : {};
  return new TowlineError(code as ErrorCode, message, payload as TowlineError['details']);
}
