/**
 * Connects to a peer: TCP, TLS, the pin, the upgrade, in this order and within one deadline. One try, no retries.
 *
 * Invariant: nothing but the TLS handshake leaves before the other side's key was found to be the pinned one.
 */
import {connect, type TLSSocket} from 'node:tls';
import {WebSocket} from 'ws';
import {isTowlineError, TowlineError} from '../base/errors.ts';
import {showHostPort} from '../config/host-port.ts';
import {Channel} from './channel.ts';
import {noUpgrade, refusedByPeer, tooSlow, unreachable, wrongPeer} from './faults.ts';
import type {AgentId, Identity} from './identity.ts';
import {limitsOf, webSocketLimits, type TransportLimits, type TransportOptions} from './limits.ts';
import {peerIdOf, secureOptions, WEBSOCKET_PATH} from './tls.ts';

export interface DialTarget {
  identity: Identity;
  host: string;
  port: number;
  /** The only ID that is accepted. */
  peerId: AgentId;
  signal?: AbortSignal;
}

/**
 * @returns an open channel that reads nothing until its `onFrame` is set
 * @throws TowlineError PEER_LOST (unreachable, too slow, cut), NOT_AUTHORISED (another key than the pinned one, or the
 *   peer does not know ours), PROTOCOL (no TLS 1.3, no WebSocket), CANCELLED or the signal's own TowlineError
 */
export async function dial(target: DialTarget, options: TransportOptions): Promise<Channel> {
  const limits = limitsOf(options);
  const {promise: stopped, reject: stop} = Promise.withResolvers<never>();
  const onAbort = (): void => stop(cancelled(target.signal?.reason));
  const timer = setTimeout(
    () => stop(tooSlow(target.peerId, showHostPort(target), limits.handshakeMs)),
    limits.handshakeMs,
  );
  target.signal?.addEventListener('abort', onAbort, {once: true});
  if (target.signal?.aborted) onAbort();
  const socket = connect({...secureOptions(target.identity), host: target.host, port: target.port});
  socket.setNoDelay(true);
  try {
    await Promise.race([secured(socket, target), stopped]);
    return await Promise.race([upgraded(socket, target, limits), stopped]);
  } catch (error) {
    socket.on('error', () => {}); // what comes after the first error says nothing new
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    target.signal?.removeEventListener('abort', onAbort);
  }
}

/** Resolves when the handshake is done and the key is the pinned one. @throws TowlineError as `dial` */
export function secured(socket: TLSSocket, target: DialTarget): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => reject(unreachable(target.peerId, showHostPort(target), error));
    socket.once('error', onError);
    socket.once('secureConnect', () => {
      socket.removeListener('error', onError);
      const found = peerIdOf(socket);
      if (found === target.peerId) resolve();
      else reject(wrongPeer(target.peerId, found, showHostPort(target)));
    });
  });
}

function upgraded(socket: TLSSocket, target: DialTarget, limits: TransportLimits): Promise<Channel> {
  return new Promise((resolve, reject) => {
    // The name in the URL goes nowhere but into the Host header: the socket is already connected.
    const ws = new WebSocket(`wss://towline${WEBSOCKET_PATH}`, {
      ...webSocketLimits(limits),
      createConnection: () => socket,
      // Masks protect old proxies from clear text; inside TLS there is none, and ws skips a mask of zeros.
      generateMask: (mask) => mask.fill(0),
    });
    const onError = (error: Error): void => reject(unreachable(target.peerId, showHostPort(target), error));
    ws.on('error', onError);
    ws.once('unexpected-response', (_request, response) => {
      const status = response.statusCode ?? 0;
      ws.terminate();
      reject(
        status === 403 ? refusedByPeer(target.peerId, target.identity.id) : noUpgrade(showHostPort(target), status),
      );
    });
    ws.once('open', () => {
      const channel = new Channel({peerId: target.peerId, limits}, {ws, socket});
      ws.removeListener('error', onError);
      resolve(channel);
    });
  });
}

/** The error of a wait that an abort ended. */
export function cancelled(reason: unknown): TowlineError {
  if (isTowlineError(reason)) return reason;
  return new TowlineError('CANCELLED', 'connecting was cancelled', {signal: 'abort'}, {cause: reason});
}
