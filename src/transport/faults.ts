/**
 * Every way a connection fails, as one TowlineError with one sentence. Pure.
 *
 * Invariant: what a stranger or a peer sent reaches a sentence only with its control characters escaped.
 */
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import {showHostPort} from '../config/host-port.ts';
import {fromBytes, showPath} from '../model/path.ts';
import {protocolFault} from '../wire/fault.ts';
import type {AgentId} from './identity.ts';
import type {TransportLimits} from './limits.ts';

const CLOSE_TEXT_BYTES_MAX = 123; // RFC 6455, 5.5: a control frame carries 125 bytes, two of them the code

/** A short form of an ID for sentences; the whole one is in the details. */
export function shortId(id: AgentId): string {
  return id === '' ? 'nobody' : id.slice(0, 12);
}

/** The peer sent nothing for so long. */
export function connectionLost(peer: AgentId, idleMs: number): TowlineError<'PEER_LOST'> {
  const sentence = `peer ${shortId(peer)} is lost: nothing came from it for ${(idleMs / 1000).toFixed(1)} s`;
  return new TowlineError('PEER_LOST', sentence, {peer, idleMs: Math.round(idleMs)});
}

/** @param code the WebSocket's close code; 1006 when there was none */
export function closedByPeer(peer: AgentId, code: number, text: Buffer): TowlineError<'PEER_LOST'> {
  const why = text.length > 0 ? `: ${showPath(fromBytes(text))}` : '';
  const what =
    code === 1006 ? `the connection to peer ${shortId(peer)} was cut` : `peer ${shortId(peer)} closed the connection`;
  return new TowlineError('PEER_LOST', `${what}${why}`, {peer, idleMs: 0});
}

/** @param error of a WebSocket: its receiver's (codes WS_ERR_…) or its socket's */
export function webSocketFault(error: Error, peer: AgentId, limits: TransportLimits): TowlineError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' || code === 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH') {
    return protocolFault('a WebSocket frame', 'size in bytes', 'more', limits.frameBytesMax);
  }
  if (code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') {
    return protocolFault(
      'a WebSocket frame',
      'count of pieces',
      error.message,
      'one frame in records of sensible size',
    );
  }
  if (code.startsWith('WS_ERR_')) return protocolFault('a WebSocket frame', 'form', error.message, 'RFC 6455');
  const sentence = `the connection to peer ${shortId(peer)} failed: ${error.message}`;
  return new TowlineError('PEER_LOST', sentence, {peer, idleMs: 0}, {cause: error});
}

/** @param found the ID of the certificate that was shown; '' for none */
export function wrongPeer(peer: AgentId, found: AgentId, address: string): TowlineError<'NOT_AUTHORISED'> {
  const sentence = `${address} is agent ${shortId(found)}, not ${shortId(peer)}: check the peer's address and ID`;
  return new TowlineError('NOT_AUTHORISED', sentence, {peer});
}

export function refusedByPeer(peer: AgentId, ownId: AgentId): TowlineError<'NOT_AUTHORISED'> {
  const sentence = `peer ${shortId(peer)} does not know this agent (${shortId(ownId)}): pair the two agents`;
  return new TowlineError('NOT_AUTHORISED', sentence, {peer});
}

/** @param error of the socket before the connection stood */
export function unreachable(peer: AgentId, address: string, error: Error): TowlineError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') {
    const details = {rule: 'TLS', value: code, limit: 'TLS 1.3'};
    return new TowlineError('PROTOCOL', `${address} does not speak TLS 1.3 as an agent does`, details, {cause: error});
  }
  const why = code === 'ECONNREFUSED' ? 'nothing listens there' : error.message || code;
  const sentence = `peer ${shortId(peer)} cannot be reached at ${address}: ${why}`;
  return new TowlineError('PEER_LOST', sentence, {peer, idleMs: 0}, {cause: error});
}

export function tooSlow(peer: AgentId, address: string, deadlineMs: number): TowlineError<'PEER_LOST'> {
  const sentence = `peer ${shortId(peer)} at ${address} did not finish the handshake within ${deadlineMs / 1000} s`;
  return new TowlineError('PEER_LOST', sentence, {peer, idleMs: deadlineMs});
}

export function noUpgrade(address: string, status: number): TowlineError<'PROTOCOL'> {
  const details = {rule: 'upgrade', value: String(status), limit: '101'};
  return new TowlineError('PROTOCOL', `${address} answered ${status} instead of opening a WebSocket`, details);
}

/** @returns at most 123 bytes of UTF-8, cut between characters */
export function closeText(sentence: string): string {
  let text = sentence;
  while (Buffer.byteLength(text) > CLOSE_TEXT_BYTES_MAX) text = text.slice(0, -1);
  return text.toWellFormed();
}

/** @param id '' when no certificate could be read */
export function unknownPeer(id: AgentId, address: string): TowlineError<'NOT_AUTHORISED'> {
  const what = id === '' ? 'without a certificate' : `with the unknown ID ${id}`;
  return new TowlineError('NOT_AUTHORISED', `refused ${address}, ${what}`, {peer: id});
}

export function cannotListen(host: string, port: number, error: Error): TowlineError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const hint = LISTEN_HINT[code];
  const at = showHostPort({host, port});
  if (hint !== undefined) return new TowlineError('USAGE', `cannot listen on ${at}: ${hint}`, {hint}, {cause: error});
  return new TowlineError(
    'SYSTEM',
    `cannot listen on ${at}: ${error.message}`,
    {syscall: 'listen', errno: code, path: at},
    {cause: error},
  );
}

const LISTEN_HINT: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use by another program; choose another one or end that program',
  EADDRNOTAVAIL: 'this host does not have that address',
  ENOTFOUND: 'that name has no address',
  EAFNOSUPPORT: 'this host has no IPv6; write 0.0.0.0 for all its addresses',
  EACCES: 'ports below 1024 need more rights',
};

export function acceptFailed(error: Error): TowlineError<'SYSTEM'> {
  const details = {syscall: 'accept', errno: (error as NodeJS.ErrnoException).code ?? '', path: ''};
  return new TowlineError('SYSTEM', `a connection could not be accepted: ${error.message}`, details, {cause: error});
}

/** @param left tries before the invitation is void */
export function wrongCode(id: AgentId, address: string, left: number): TowlineError<'NOT_AUTHORISED'> {
  const after = left === 0 ? 'the invitation is void now' : `tries left: ${left}`;
  const sentence = `${address}, with the ID ${id}, tried to join with a wrong code: ${after}`;
  return new TowlineError('NOT_AUTHORISED', sentence, {peer: id});
}

/** The code was right, and our own disk or configuration did not take the peer. */
export function notWrittenDown(id: AgentId, cause: unknown): TowlineError {
  const sentence = `agent ${shortId(id)} joined and could not be written down as a peer: ${messageOf(cause)}`;
  if (isTowlineError(cause)) return new TowlineError(cause.code, sentence, cause.details, {cause});
  return new TowlineError('SYSTEM', sentence, {syscall: 'write', errno: '', path: ''}, {cause});
}
