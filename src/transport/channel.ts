/**
 * An open connection to one known peer: whole frames in both directions, back-pressure both ways, a heartbeat.
 *
 * Not a session: it knows no message, no link and no credit, and it never reconnects.
 * Invariant: `onClose` is called exactly once, after the last `onFrame`, and never from within a call of a method.
 */
import type {TLSSocket} from 'node:tls';
import type {WebSocket} from 'ws';
import {asTowlineError, invariant, TowlineError} from '../base/errors.ts';
import {systemClock} from '../base/clock.ts';
import {protocolFault} from '../wire/fault.ts';
import {closedByPeer, closeText, connectionLost, webSocketFault} from './faults.ts';
import {Heartbeat} from './heartbeat.ts';
import type {AgentId} from './identity.ts';
import type {TransportLimits} from './limits.ts';

/** From this size on a frame is the only one in its ArrayBuffer, so that it can be transferred to a worker. */
export const OWN_MEMORY_BYTES_MIN = 64 * 1024;

export type FrameHandler = (frame: Buffer) => void;
export type CloseHandler = (reason: TowlineError) => void;

interface ChannelParts {
  ws: WebSocket;
  socket: TLSSocket;
  clock?: {monotonicMs(): number};
}

export class Channel {
  /** The ID that the peer's key was checked against. */
  readonly peerId: AgentId;
  /** Resolves when the socket is gone: at the latest `closeMs` after `onClose`. */
  readonly closed: Promise<void>;
  readonly #limits: TransportLimits;
  readonly #ws: WebSocket;
  readonly #socket: TLSSocket;
  readonly #clock: {monotonicMs(): number};
  readonly #heartbeat: Heartbeat;
  #timer: NodeJS.Timeout | undefined;
  #onFrame: FrameHandler | undefined;
  #onClose: CloseHandler | undefined;
  #reason: TowlineError | undefined;
  #isPaused = false;
  /** Frames of the chunk that was being read when reading stopped: at most 64 KiB and one frame. */
  #held: Buffer[] = [];
  #waiting: {resolve: () => void; reject: (reason: TowlineError) => void}[] = [];

  /** @internal Made by `dial` and `listen` from a WebSocket that has just opened. Reads nothing until `onFrame` is set. */
  constructor(options: {peerId: AgentId; limits: TransportLimits}, parts: ChannelParts) {
    this.peerId = options.peerId;
    this.#limits = options.limits;
    this.#ws = parts.ws;
    this.#socket = parts.socket;
    this.#clock = parts.clock ?? systemClock;
    this.#heartbeat = new Heartbeat(options.limits, this.#clock.monotonicMs());
    this.closed = new Promise((resolve) => {
      this.#ws.once('close', () => resolve());
    });
    this.#listen();
    this.#ws.pause();
    this.#beat();
  }

  get isOpen(): boolean {
    return this.#reason === undefined;
  }

  /** Bytes of WebSocket frames (not of TLS records) handed over for sending, headers and pings included. */
  get bytesSent(): number {
    return this.#socket.bytesWritten;
  }

  get bytesReceived(): number {
    return this.#socket.bytesRead;
  }

  /** Bytes that wait in this process to be sent. */
  get bytesBuffered(): number {
    return this.#ws.bufferedAmount;
  }

  /**
   * Takes each frame, in order. Reading starts when it is first set, so nothing is lost before. From 64 KiB on a
   * frame has an ArrayBuffer of its own; smaller ones may share one and must be copied to be transferred.
   * What it throws closes the channel: a TowlineError with itself, anything else as BUG.
   */
  set onFrame(handler: FrameHandler) {
    this.#onFrame = handler;
    this.#continue();
  }

  /** Takes the reason of the end, once; also when the end came before it was set. */
  set onClose(handler: CloseHandler) {
    invariant(this.#onClose === undefined, 'a channel has one owner');
    this.#onClose = handler;
    if (this.#reason !== undefined) this.#tellOwner(this.#reason);
  }

  /**
   * Queues one frame. Its bytes belong to the channel until they are written: don't change or transfer them before
   * `drained` resolved with nothing buffered. Does nothing on a closed channel.
   * @throws TowlineError BUG when the frame is larger than `frameBytesMax`
   */
  send(frame: Buffer, onWritten?: () => void): void {
    invariant(frame.length <= this.#limits.frameBytesMax, `a frame of ${frame.length} bytes was to be sent`);
    if (!this.isOpen) return;
    this.#ws.send(frame, () => {
      this.#written();
      onWritten?.();
    });
  }

  /** Resolves when less than `sendBufferBytes` wait to be sent; rejects with the reason when the channel closes first. */
  drained(): Promise<void> {
    if (this.#reason !== undefined) return Promise.reject(this.#reason);
    if (this.#ws.bufferedAmount < this.#limits.sendBufferBytes) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting.push({resolve, reject});
    });
  }

  /** Stops reading: the peer's frames wait in the kernel and then with the peer. No `onFrame` until `resume`. */
  pause(): void {
    this.#isPaused = true;
    if (this.isOpen) this.#ws.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#continue();
  }

  /**
   * Ends the channel. What was sent before still leaves within `closeMs`, unless the reason is PEER_LOST: then the
   * socket is cut at once. The peer sees the reason's message, shortened.
   * @param reason what `onClose` gets; CANCELLED when left out
   */
  close(reason: TowlineError = new TowlineError('CANCELLED', 'closed by this agent', {signal: 'close'})): void {
    if (!this.isOpen) return;
    this.#end(reason);
    if (reason.code === 'PEER_LOST') return this.#ws.terminate();
    this.#ws.close(reason.code === 'PROTOCOL' ? 1002 : 1000, closeText(reason.message));
    this.#ws.resume(); // the peer's own close frame stands behind what was not read
  }

  readonly #written = (): void => {
    if (this.#waiting.length === 0 || this.#ws.bufferedAmount >= this.#limits.sendBufferBytes) return;
    for (const waiter of this.#waiting.splice(0)) waiter.resolve();
  };

  #listen(): void {
    this.#socket.on('data', () => this.#heartbeat.heard(this.#clock.monotonicMs()));
    this.#ws.on('message', (data, isBinary) => {
      if (isBinary) this.#take(data as Buffer);
      else this.close(protocolFault('a WebSocket message', 'type', 'text', 'binary'));
    });
    this.#ws.on('error', (error) => this.#end(webSocketFault(error, this.peerId, this.#limits)));
    this.#ws.on('close', (code, text) => this.#end(closedByPeer(this.peerId, code, text)));
  }

  #take(data: Buffer): void {
    if (!this.isOpen) return;
    const isShared = data.length >= OWN_MEMORY_BYTES_MIN && data.buffer.byteLength !== data.length;
    const frame = isShared ? Buffer.from(new Uint8Array(data).buffer) : data;
    if (this.#isPaused || this.#onFrame === undefined || this.#held.length > 0) this.#held.push(frame);
    else this.#give(frame, this.#onFrame);
  }

  #give(frame: Buffer, handler: FrameHandler): void {
    try {
      handler(frame);
    } catch (error) {
      this.close(asTowlineError(error));
    }
  }

  /** Gives what was held back, then reads on. */
  #continue(): void {
    const handler = this.#onFrame;
    if (handler === undefined) return;
    while (this.#held.length > 0 && !this.#isPaused && this.isOpen) this.#give(this.#held.shift()!, handler);
    if (this.#isPaused || !this.isOpen) return;
    this.#heartbeat.heard(this.#clock.monotonicMs()); // while not reading the peer could not be heard
    this.#ws.resume();
  }

  #beat(): void {
    const isListening = !this.#isPaused && this.#onFrame !== undefined;
    const step = this.#heartbeat.step(this.#clock.monotonicMs(), isListening);
    if (step.kind === 'lost') return this.close(connectionLost(this.peerId, step.idleMs));
    // With bytes waiting, either they move and are a sign of life themselves, or a ping would not get through either.
    if (this.#ws.bufferedAmount === 0) this.#ws.ping();
    this.#timer = setTimeout(() => this.#beat(), step.delayMs);
  }

  /** The one place where a channel stops being open. */
  #end(reason: TowlineError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    clearTimeout(this.#timer);
    this.#held = [];
    for (const waiter of this.#waiting.splice(0)) waiter.reject(reason);
    if (this.#onClose !== undefined) this.#tellOwner(reason);
  }

  #tellOwner(reason: TowlineError): void {
    const handler = this.#onClose;
    queueMicrotask(() => handler?.(reason));
  }
}
