/**
 * Joins an agent that invited: dials the addresses of the code, pins the inviter's key, shows the secret, hears its name.
 *
 * Invariant: nothing but TLS handshakes leaves before the key of the code was proved, and the secret itself never does.
 */
import {connect, type TLSSocket} from 'node:tls';
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import type {HostPort} from '../config/agent-config.ts';
import {showHostPort} from '../config/host-port.ts';
import {protocolFault} from '../wire/fault.ts';
import {
  decodeAnswer,
  encodeJoin,
  PAIRING_BYTES,
  type PairingEnds,
  type PairingStatus,
} from '../wire/pairing-messages.ts';
import {cancelled, secured} from './dial.ts';
import {shortId, tooSlow} from './faults.ts';
import type {AgentId, Identity} from './identity.ts';
import {type PairingCode, readCode} from './pairing-code.ts';
import {secureOptions} from './tls.ts';

export interface JoinOptions {
  /** As it was typed. */
  code: string;
  identity: Identity;
  /** This agent's, for the other one. */
  name: string;
  /** Where this agent listens; 0 when it only dials. */
  listenPort: number;
  signal?: AbortSignal;
}

/** Who invited, and the address of the code that it was reached at. */
export interface Joined {
  id: AgentId;
  name: string;
  address: HostPort;
}

const ADDRESS_MS = 10_000; // all addresses are tried at once, each for so long
const ANSWER_MS = 10_000;

/**
 * @throws TowlineError USAGE for a wrong code or this agent's own, PEER_LOST when no address answers, NOT_AUTHORISED when
 *   others answer or the secret is wrong, REFUSED when the invitation is over, PROTOCOL, CANCELLED
 */
export async function join(options: JoinOptions): Promise<Joined> {
  const code = readCode(options.code);
  if (code.id === options.identity.id) {
    const hint = 'run it on the other host';
    throw new TowlineError('USAGE', `this is an invitation of this very agent: ${hint}`, {hint});
  }
  const stopped = stopper(options.signal);
  try {
    const {socket, address} = await Promise.race([reach(code, options.identity, stopped.sockets), stopped.promise]);
    const name = await Promise.race([introduce(socket, code, options), stopped.promise]);
    return {id: code.id, name, address};
  } finally {
    stopped.close();
  }
}

/** What ends a try from outside, and all its sockets, which are gone afterwards whatever happens. */
function stopper(signal: AbortSignal | undefined) {
  const sockets = new Set<TLSSocket>();
  const {promise, reject} = Promise.withResolvers<never>();
  promise.catch(() => {});
  const onAbort = (): void => reject(cancelled(signal?.reason));
  signal?.addEventListener('abort', onAbort, {once: true});
  if (signal?.aborted === true) onAbort();
  const close = (): void => {
    signal?.removeEventListener('abort', onAbort);
    for (const socket of sockets) socket.destroy();
  };
  return {promise, sockets, close};
}

/** The first address behind which the key of the code was proved. */
async function reach(
  code: PairingCode,
  identity: Identity,
  sockets: Set<TLSSocket>,
): Promise<{socket: TLSSocket; address: HostPort}> {
  const tries = code.addresses.map(async (address) => {
    const socket = connect({...secureOptions(identity), host: address.host, port: address.port});
    sockets.add(socket);
    socket.on('error', () => {}); // whoever waits for this socket hears of it too
    socket.setNoDelay(true);
    await within(ADDRESS_MS, secured(socket, {identity, ...address, peerId: code.id}), () =>
      tooSlow(code.id, showHostPort(address), ADDRESS_MS),
    );
    return {socket, address};
  });
  try {
    return await Promise.any(tries);
  } catch (error) {
    throw noneReached(code, (error as AggregateError).errors);
  }
}

function noneReached(code: PairingCode, errors: readonly unknown[]): unknown {
  if (errors.length === 1) return errors[0];
  const foreign = errors.find((error) => isTowlineError(error) && error.code === 'NOT_AUTHORISED');
  const sentence = `no address of the invitation leads to its agent: ${errors.map(messageOf).join('; ')}`;
  if (foreign !== undefined) return new TowlineError('NOT_AUTHORISED', sentence, {peer: code.id});
  return new TowlineError('PEER_LOST', sentence, {peer: code.id, idleMs: 0});
}

/** Shows the secret's MAC; @returns the inviter's name */
async function introduce(socket: TLSSocket, code: PairingCode, options: JoinOptions): Promise<string> {
  const ends: PairingEnds = {secret: code.secret, joinerId: options.identity.id, inviterId: code.id};
  const answered = answerOn(socket, code.id);
  socket.write(encodeJoin({name: options.name, port: options.listenPort}, ends));
  const answer = await within(ANSWER_MS, answered, () => tooSlow(code.id, 'the invitation', ANSWER_MS));
  if (answer.subarray(0, 5).toString('latin1') === 'HTTP/') throw invitationOver(code.id);
  const {status, name} = decodeAnswer(answer, ends);
  if (status !== 'welcome') throw notWelcome(status, code.id);
  return name;
}

/** At most PAIRING_BYTES, or what came until the other side ended. */
function answerOn(socket: TLSSocket, peer: AgentId): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const settle = (): void => resolve(Buffer.concat(chunks));
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes > PAIRING_BYTES) reject(protocolFault('a pairing answer', 'size in bytes', 'more', PAIRING_BYTES));
      if (sizeBytes === PAIRING_BYTES) settle();
    });
    const onCut = (error?: Error): void => {
      if (sizeBytes > 0) return settle();
      const sentence = `peer ${shortId(peer)} cut the connection without an answer: ask it for a new invitation`;
      reject(new TowlineError('PEER_LOST', sentence, {peer, idleMs: 0}, {cause: error}));
    };
    socket.on('error', onCut);
    socket.on('close', () => onCut());
  });
}

function invitationOver(peer: AgentId): TowlineError<'REFUSED'> {
  const why = 'it was used or withdrawn, or ran out of time or tries';
  const reason = `agent ${shortId(peer)} has no open invitation of this code: ${why}; make a new one with towline invite`;
  return new TowlineError('REFUSED', reason, {reason});
}

function notWelcome(status: PairingStatus, peer: AgentId): TowlineError {
  if (status === 'wrong-code') {
    const sentence = `agent ${shortId(peer)} has another invitation open than this one: use the code it printed last`;
    return new TowlineError('NOT_AUTHORISED', sentence, {peer});
  }
  const reason = `agent ${shortId(peer)} could not write this agent down as its peer: see its log`;
  return new TowlineError('REFUSED', reason, {reason});
}

async function within<T>(deadlineMs: number, work: Promise<T>, late: () => TowlineError): Promise<T> {
  const {promise, reject} = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), deadlineMs);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
