/**
 * Tries the network: whether our port can be had or is ours already, and whether a peer opens. Thin, within deadlines.
 */
import {createServer} from 'node:net';
import type {Clock} from '../../base/clock.ts';
import {isTowlineError} from '../../base/errors.ts';
import type {HostPort, PeerConfig} from '../../config/agent-config.ts';
import type {Identity} from '../../transport/identity.ts';
import {knock, meet} from '../../transport/knock.ts';
import type {PeerFacts, PortFacts} from './judge-network.ts';

const LOCAL: Readonly<Record<string, string>> = {'::': '::1', '0.0.0.0': '127.0.0.1'};

/** @param identity undefined when there is none: then a taken port is somebody else's */
export async function readPort(
  listen: HostPort,
  identity: Identity | undefined,
  limits: {deadlineMs: number; clock: Clock},
): Promise<PortFacts> {
  const errno = await listenFault(listen);
  if (errno === undefined) return {kind: 'free'};
  if (errno !== 'EADDRINUSE') return {kind: 'fault', errno};
  if (identity === undefined) return {kind: 'taken'};
  const target = {identity, host: LOCAL[listen.host] ?? listen.host, port: listen.port, peerId: identity.id};
  try {
    await meet(target, {deadlineMs: limits.deadlineMs, nowMs: () => limits.clock.nowMs()});
    return {kind: 'own'};
  } catch (error) {
    if (!isTowlineError(error)) throw error;
    return {kind: 'taken'};
  }
}

/** Binds for a moment. @returns errno name */
function listenFault({host, port}: HostPort): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({host, port}, () => server.close(() => resolve(undefined)));
  });
}

/** @returns undefined when it has no address */
export async function readPeer(
  peer: PeerConfig,
  identity: Identity,
  limits: {deadlineMs: number; clock: Clock},
): Promise<PeerFacts | undefined> {
  if (peer.address === undefined) return undefined;
  const target = {identity, ...peer.address, peerId: peer.id};
  try {
    const knocked = await knock(target, {deadlineMs: limits.deadlineMs, nowMs: () => limits.clock.nowMs()});
    return {kind: 'open', ...knocked};
  } catch (error) {
    if (!isTowlineError(error)) throw error;
    return {kind: 'closed', code: error.code, message: error.message};
  }
}
