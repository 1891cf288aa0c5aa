/**
 * Accepts peers: each socket passes the gate of strangers, TLS, the pin, the upgrade, and only then is a channel.
 *
 * A stranger gets one fixed refusal and is never parsed: the HTTP parser sees bytes of known peers only. While an
 * invitation is open, a stranger may send one message of fixed size instead (hear-joiner.ts).
 * Invariant: a socket is in one of the two gates (so it has a deadline and counts) until it is a channel or gone.
 */
import {
  createServer as createHttpServer,
  STATUS_CODES,
  type IncomingMessage,
  type Server as HttpServer,
} from 'node:http';
import type {AddressInfo, Socket} from 'node:net';
import {createServer as createTlsServer, type Server as TlsServer, type TLSSocket} from 'node:tls';
import {WebSocketServer} from 'ws';
import {isTowlineError, type TowlineError} from '../base/errors.ts';
import {protocolFault} from '../wire/fault.ts';
import {Channel} from './channel.ts';
import type {PairedPeer} from '../config/peer-files.ts';
import {acceptFailed, cannotListen, notWrittenDown, unknownPeer, wrongCode} from './faults.ts';
import {Gate} from './gate.ts';
import {hearJoiner} from './hear-joiner.ts';
import type {AgentId, Identity} from './identity.ts';
import {limitsOf, webSocketLimits, type TransportLimits, type TransportOptions} from './limits.ts';
import type {Invitation} from './pairing.ts';
import {peerIdOf, secureOptions, WEBSOCKET_PATH} from './tls.ts';

export interface ListenTarget {
  identity: Identity;
  host: string;
  /** 0 for any free one. */
  port: number;
  /** Asked after TLS and once more at the upgrade; what it throws means no. */
  isKnownPeer(id: AgentId): boolean;
  /** Takes an open channel that reads nothing until its `onFrame` is set. */
  onChannel(channel: Channel): void;
  /** The open invitation, if any; asked for each new socket. */
  invitation?(): Invitation | undefined;
  /** Writes a peer down that has shown the invitation's code. It is told so when this returns; throwing says no. */
  onPaired?(peer: PairedPeer): void;
  /** For the log: a stranger was refused (NOT_AUTHORISED), a socket could not be accepted (SYSTEM). */
  onTrouble?(trouble: TowlineError): void;
}

export interface Listener {
  /** Where it listens, with the port that was given. */
  readonly address: {host: string; port: number};
  /** Stops listening, cuts handshakes, closes the channels it gave out. Resolves when no socket is left. */
  close(): Promise<void>;
}

const HEADER_BYTES_MAX = 4 * 1024; // a peer's upgrade has about 200

/**
 * @throws TowlineError USAGE when the address cannot be had (port in use, not an address of this host, no permission),
 *   SYSTEM for anything else
 */
export function listen(target: ListenTarget, options: TransportOptions): Promise<Listener> {
  const acceptor = new Acceptor(target, limitsOf(options));
  return acceptor.start();
}

class Acceptor implements Listener {
  readonly #target: ListenTarget;
  readonly #limits: TransportLimits;
  readonly #tls: TlsServer;
  readonly #http: HttpServer;
  readonly #webSockets: WebSocketServer;
  readonly #strangers: Gate<Socket>;
  readonly #known: Gate<TLSSocket>;
  /** TLS hands out a socket of its own; the addresses of both ends tell which stranger it was. */
  readonly #strangerByEnds = new Map<string, Socket>();
  readonly #idBySocket = new WeakMap<object, AgentId>();
  readonly #channels = new Set<Channel>();
  #address = {host: '', port: 0};

  constructor(target: ListenTarget, limits: TransportLimits) {
    this.#target = target;
    this.#limits = limits;
    const gateLimits = {countMax: limits.unauthenticatedMax, deadlineMs: limits.handshakeMs};
    this.#strangers = new Gate(gateLimits);
    this.#known = new Gate(gateLimits);
    this.#tls = createTlsServer({...secureOptions(target.identity), requestCert: true, noDelay: true});
    this.#tls.on('connection', (socket) => this.#meet(socket));
    this.#tls.on('secureConnection', (socket) => this.#identify(socket));
    this.#http = createHttpServer({maxHeaderSize: HEADER_BYTES_MAX});
    this.#http.on('request', (_request, response) => response.writeHead(426, {Connection: 'close'}).end());
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as TLSSocket, head));
    this.#webSockets = new WebSocketServer({noServer: true, clientTracking: false, ...webSocketLimits(limits)});
  }

  get address(): {host: string; port: number} {
    return this.#address;
  }

  start(): Promise<Listener> {
    const {host, port} = this.#target;
    return new Promise((resolve, reject) => {
      const onError = (error: Error): void => reject(cannotListen(host, port, error));
      this.#tls.once('error', onError);
      this.#tls.listen({host, port}, () => {
        this.#tls.removeListener('error', onError);
        this.#tls.on('error', (error) => this.#target.onTrouble?.(acceptFailed(error)));
        const {address, port: given} = this.#tls.address() as AddressInfo;
        this.#address = {host: address, port: given};
        resolve(this);
      });
    });
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#tls.close(() => resolve());
    });
    this.#strangers.dropAll();
    this.#known.dropAll();
    for (const channel of this.#channels) channel.close();
    await closed;
  }

  /** a new socket -> stranger */
  #meet(socket: Socket): void {
    const ends = endsOf(socket);
    this.#strangers.letIn(socket);
    this.#strangerByEnds.set(ends, socket);
    socket.once('close', () => {
      this.#strangers.letOut(socket);
      if (this.#strangerByEnds.get(ends) === socket) this.#strangerByEnds.delete(ends);
    });
  }

  /** stranger -> judged by its key, or heard first while an invitation is open */
  #identify(socket: TLSSocket): void {
    socket.on('error', () => {}); // its 'close' follows and says all there is to do
    const ends = endsOf(socket);
    const stranger = this.#strangerByEnds.get(ends);
    const id = peerIdOf(socket);
    if (stranger === undefined) return void socket.destroy(); // gone already
    const invitation = id === '' ? undefined : this.#target.invitation?.();
    if (invitation?.isOpenTo(id) !== true) return this.#admit(socket, stranger, id);
    hearJoiner(socket, {
      onOther: () => this.#admit(socket, stranger, id),
      onMessage: (message) => this.#pair(message, {socket, stranger, id, invitation}),
    });
  }

  /** stranger -> known peer without a WebSocket, or refused */
  #admit(socket: TLSSocket, stranger: Socket, id: AgentId): void {
    if (!this.#isKnown(id)) return this.#refuse(socket, 403, unknownPeer(id, addressOf(socket)));
    this.#strangerByEnds.delete(endsOf(socket));
    this.#strangers.letOut(stranger);
    this.#known.letIn(socket);
    socket.once('close', () => this.#known.letOut(socket));
    this.#idBySocket.set(socket, id);
    this.#http.emit('connection', socket);
    socket.resume(); // it rests when it was heard before
  }

  /** stranger -> told that it is a peer now, or that it is not; gone either way */
  #pair(message: Buffer, from: {socket: TLSSocket; stranger: Socket; id: AgentId; invitation: Invitation}): void {
    const {socket, stranger, id, invitation} = from;
    socket.resume(); // to see the other side close
    // Of several sockets that were let in to speak an earlier one may have closed the invitation.
    if (!invitation.isOpenTo(id)) return this.#refuse(socket, 403, unknownPeer(id, addressOf(socket)));
    try {
      const verdict = invitation.judge(message, id);
      if (!verdict.isRight) {
        this.#target.onTrouble?.(wrongCode(id, addressOf(socket), verdict.triesLeft));
        return void socket.end(verdict.answer);
      }
      // Out of the gate, so that `close` lets the answer leave; not for longer than that takes.
      this.#strangers.letOut(stranger);
      const timer = setTimeout(() => stranger.destroy(), this.#limits.closeMs);
      stranger.once('close', () => clearTimeout(timer));
      const {name, port} = verdict.joiner;
      const host = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
      const isWritten = this.#write({id, name, address: port === 0 ? undefined : {host, port}});
      socket.end(isWritten ? verdict.joined() : verdict.failed());
    } catch (error) {
      if (!isTowlineError(error)) throw error;
      this.#refuse(socket, 403, error); // a right MAC over a wrong message: not one of ours
    }
  }

  #write(peer: PairedPeer): boolean {
    try {
      this.#target.onPaired?.(peer);
      return this.#target.onPaired !== undefined;
    } catch (error) {
      this.#target.onTrouble?.(notWrittenDown(peer.id, error));
      return false;
    }
  }

  /** known peer without a WebSocket -> channel */
  #upgrade(request: IncomingMessage, socket: TLSSocket, head: Buffer): void {
    const peerId = this.#idBySocket.get(socket) ?? '';
    if (!this.#isKnown(peerId)) return this.#refuse(socket, 403, unknownPeer(peerId, addressOf(socket)));
    // A browser always sends its page's origin, an agent never does.
    if (request.url !== WEBSOCKET_PATH || request.headers.origin !== undefined) {
      return this.#refuse(
        socket,
        404,
        protocolFault('the upgrade', 'path', request.url ?? '', `${WEBSOCKET_PATH}, no origin`),
      );
    }
    this.#webSockets.handleUpgrade(request, socket, head, (ws) => {
      this.#known.letOut(socket);
      const channel = new Channel({peerId, limits: this.#limits}, {ws, socket});
      this.#channels.add(channel);
      void channel.closed.then(() => this.#channels.delete(channel));
      this.#target.onChannel(channel);
    });
  }

  /** Says no without looking at what was said; the gate's deadline holds also while the refusal leaves. */
  #refuse(socket: TLSSocket, status: 403 | 404, trouble: TowlineError): void {
    this.#target.onTrouble?.(trouble);
    socket.resume(); // unread bytes would turn the close into a reset that overtakes the refusal
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }

  #isKnown(id: AgentId): boolean {
    try {
      return id !== '' && this.#target.isKnownPeer(id);
    } catch {
      return false;
    }
  }
}

/** Both ends of a TCP connection: no two open ones have the same. */
function endsOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;
}

function addressOf(socket: Socket): string {
  return `${socket.remoteAddress} port ${socket.remotePort}`;
}
