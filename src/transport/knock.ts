/**
 * Asks whether a peer would let us in, without going in: TCP, TLS, its key, and one plain request instead of the upgrade.
 *
 * A listener refuses strangers before it reads and answers 426 to who it knows (listen.ts), so no session begins and none
 * is replaced. Invariant: nothing but the TLS handshake leaves before the other side's key was found to be the pinned one.
 */
import {connect, type TLSSocket} from 'node:tls';
import type {TowlineError} from '../base/errors.ts';
import {showHostPort} from '../config/host-port.ts';
import {secured, type DialTarget} from './dial.ts';
import {noUpgrade, refusedByPeer, tooSlow, unreachable} from './faults.ts';
import {secureOptions, WEBSOCKET_PATH} from './tls.ts';

const ANSWER_BYTES_MAX = 4096;

export interface Knocked {
  /** The peer's clock less ours, in whole seconds; undefined when it did not tell. */
  clockAheadS: number | undefined;
}

export interface KnockLimits {
  /** For all of it. */
  deadlineMs: number;
  nowMs(): number;
}

/** @throws TowlineError as `dial` */
export function knock(target: DialTarget, limits: KnockLimits): Promise<Knocked> {
  return atDoor(target, limits, async (socket) => {
    const sentMs = limits.nowMs();
    const answer = await answered(socket, target);
    return readAnswer(answer, target, (sentMs + limits.nowMs()) / 2);
  });
}

/** Resolves when the other side has proved that it holds the key; whether it knows ours is not asked. @throws as `dial` */
export function meet(target: DialTarget, limits: KnockLimits): Promise<void> {
  return atDoor(target, limits, () => Promise.resolve());
}

async function atDoor<T>(
  target: DialTarget,
  {deadlineMs}: KnockLimits,
  job: (socket: TLSSocket) => Promise<T>,
): Promise<T> {
  const {promise: late, reject} = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(tooSlow(target.peerId, showHostPort(target), deadlineMs)), deadlineMs);
  const socket = connect({...secureOptions(target.identity), host: target.host, port: target.port});
  try {
    await Promise.race([secured(socket, target), late]);
    return await Promise.race([job(socket), late]);
  } finally {
    clearTimeout(timer);
    socket.on('error', () => {}); // what comes after the first error says nothing new
    socket.destroy();
  }
}

/** Everything the peer says until it closes. */
function answered(socket: TLSSocket, target: DialTarget): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    socket.on('error', (error) => reject(unreachable(target.peerId, showHostPort(target), error)));
    socket.on('close', () => resolve(said));
    socket.on('data', (bytes: Buffer) => {
      said += bytes.toString('latin1');
      if (said.length > ANSWER_BYTES_MAX || said.includes('\r\n\r\n')) resolve(said);
    });
    socket.write(`GET ${WEBSOCKET_PATH} HTTP/1.1\r\nHost: towline\r\nConnection: close\r\n\r\n`);
  });
}

function readAnswer(answer: string, target: DialTarget, atMs: number): Knocked {
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 0);
  if (status === 426) {
    const peerMs = Date.parse(/^date: (.+)\r$/im.exec(answer)?.[1] ?? '');
    // The header is cut to the second: on average it is half of one behind.
    return {clockAheadS: Number.isNaN(peerMs) ? undefined : Math.round((peerMs + 500 - atMs) / 1000)};
  }
  throw faultOf(status, target);
}

function faultOf(status: number, target: DialTarget): TowlineError {
  return status === 403 ? refusedByPeer(target.peerId, target.identity.id) : noUpgrade(showHostPort(target), status);
}
