/**
 * The one error class of Towline. The code keys its payload, and two tables decide what follows from it.
 *
 * Trouble with one path is not an error but a `Problem` (model/problem.ts): an error stops the run or the session.
 * Invariant: every code stands in both tables (a forgotten one does not compile).
 */

/** Payloads hold primitives only, so that this folder knows no layer above it. */
export interface TowlineErrorDetails {
  /** Command line or configuration is wrong: the user changes what was typed. `isList`: a fault on each line. */
  USAGE: {hint: string; isList?: true};
  /** The root of an unknown volume is missing or is not a directory. */
  ROOT_MISSING: {path: string};
  /** A guard stopped the link instead of destroying data. `kind` names the guard, `count` what it counted. */
  HALTED: {kind: HaltKind; volume: string; count: number; limit: number};
  /** Identity, volume or mode was not granted. */
  NOT_AUTHORISED: {peer: string};
  /** The peer cannot be reached, was lost, or missed a deadline. */
  PEER_LOST: {peer: string; idleMs: number};
  /** Another process holds this volume or state. */
  LOCKED: {path: string; holder: string};
  /** Stored or received bytes do not have the digest they must have. */
  INTEGRITY: {path: string; expected: string; actual: string};
  /** Refused by policy or by the operator; nothing changed. */
  REFUSED: {reason: string};
  /** The peer broke the protocol: a frame too large, an impossible count, a message out of order. */
  PROTOCOL: {rule: string; value: string; limit: string};
  /** A system call on Towline's own folders failed (state, staging, trash), or the whole volume fails. */
  SYSTEM: {syscall: string; errno: string; path: string};
  /** The state was written by a newer version. */
  STATE_NEWER: {found: number; known: number};
  /** The state cannot be read. */
  STATE_DAMAGED: {path: string; what: string};
  /** The run was cancelled by a signal or by its caller. */
  CANCELLED: {signal: string};
  /** A broken assumption of our own. */
  BUG: {what: string};
}

export type HaltKind =
  | 'root-missing'
  | 'root-replaced'
  | 'root-mark-missing'
  | 'root-emptied'
  | 'root-unreadable'
  | 'delete-share'
  | 'delete-count'
  | 'disk-full'
  | 'identity-clone'
  | 'epoch';

export type ErrorCode = keyof TowlineErrorDetails;

/**
 * An error that ends a run or a session.
 * @param message one sentence for a person: what happened, to which path, what to do
 */
export class TowlineError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'TowlineError';
  readonly code: C;
  readonly details: TowlineErrorDetails[C];
  constructor(code: C, message: string, details: TowlineErrorDetails[C], options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

/** What a link does after an error: try again by itself, wait for the operator, or end the process. */
export const REACTION: Record<ErrorCode, 'retry' | 'halt' | 'exit'> = {
  USAGE: 'exit',
  ROOT_MISSING: 'exit',
  HALTED: 'halt',
  NOT_AUTHORISED: 'halt', // a repeat would be refused again
  PEER_LOST: 'retry',
  LOCKED: 'exit',
  INTEGRITY: 'retry',
  REFUSED: 'halt',
  PROTOCOL: 'retry', // a new session, with backoff; the link is not lost for one broken peer
  SYSTEM: 'retry',
  STATE_NEWER: 'exit',
  STATE_DAMAGED: 'exit',
  CANCELLED: 'exit',
  BUG: 'exit',
};

export const EXIT_CODE: Record<ErrorCode, number> = {
  USAGE: 2,
  ROOT_MISSING: 2,
  HALTED: 3,
  NOT_AUTHORISED: 4,
  PEER_LOST: 5,
  LOCKED: 6,
  INTEGRITY: 7,
  REFUSED: 8,
  PROTOCOL: 5,
  SYSTEM: 1,
  STATE_NEWER: 2,
  STATE_DAMAGED: 7,
  CANCELLED: 130,
  BUG: 70,
};

const WORST_FIRST = [70, 7, 3, 6, 4, 5, 8, 1];

/** Of several exit codes the one that must be reported; codes outside the list of DESIGN §3 win over it in their order. */
export function worstExitCode(codes: readonly number[]): number {
  const outside = codes.find((code) => code !== 0 && !WORST_FIRST.includes(code));
  return outside ?? WORST_FIRST.find((code) => codes.includes(code)) ?? 0;
}

export function isTowlineError(error: unknown): error is TowlineError {
  return error instanceof TowlineError;
}

/**
 * A failed system call that nobody gave a meaning, of libc or of Node: trouble with the disk, its rights or its limits,
 * not a bug.
 * @returns undefined for anything else
 */
export function systemErrorOf(error: unknown): TowlineError<'SYSTEM'> | undefined {
  if (!(error instanceof Error)) return undefined;
  const {code, syscall, path = ''} = error as {code?: unknown; syscall?: unknown; path?: string};
  if (typeof code !== 'string' || typeof syscall !== 'string') return undefined;
  const message = `a system call failed: ${error.message}; look at the disk, its rights and its limits`;
  return new TowlineError('SYSTEM', message, {syscall, errno: code, path}, {cause: error});
}

/** Any thrown value as an error with a code: what nobody gave one is a failed system call, or a bug of ours. */
export function asTowlineError(thrown: unknown): TowlineError {
  if (isTowlineError(thrown)) return thrown;
  const failed = systemErrorOf(thrown);
  if (failed !== undefined) return failed;
  return bug(messageOf(thrown), thrown);
}

/** @param what a sentence of its own, for whoever tells it in other words */
export function bug(what: string, cause?: unknown): TowlineError<'BUG'> {
  return new TowlineError('BUG', `internal error: ${what}; please report it`, {what}, {cause});
}

/** Fails as a bug when a condition that must hold does not; kept in production. */
export function invariant(condition: unknown, what: string): asserts condition {
  if (!condition) throw bug(what);
}

/** One line that says what any thrown value is. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
