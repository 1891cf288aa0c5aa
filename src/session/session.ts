/**
 * One connection's conversation: hello both ways, byte credits, requests with deadlines, one link's messages in order.
 *
 * Not a link: it knows no volume. Invariants: nothing but hello is sent or taken before both hellos agreed; a frame
 * that costs credit is sent only when the peer gave it, and its credit goes back when it was worked off.
 */
import {randomBytes} from 'node:crypto';
import {release} from '../base/memory.ts';
import {invariant, isTowlineError, TowlineError} from '../base/errors.ts';
import {decode, encode, peek} from '../wire/codec.ts';
import {COSTS_CREDIT, CreditGrant, CreditWindow} from '../wire/credits.ts';
import {protocolFault} from '../wire/fault.ts';
import {PINGS_OPEN_MAX} from '../wire/limits.ts';
import type {Message, MessageKind} from '../wire/messages.ts';
import {negotiate, OWN_TERMS} from '../wire/negotiate.ts';

/** A connection, as the transport gives it. */
export interface FrameChannel {
  readonly peerId: string;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  send(frame: Buffer, onWritten?: () => void): void;
  drained(): Promise<void>;
  close(reason?: TowlineError): void;
  onFrame: ((frame: Buffer) => void) | undefined;
  onClose: ((reason: TowlineError) => void) | undefined;
}

/** Takes one message; the frame's credit goes back when it resolves. Messages are handed over in order. */
export type MessageHandler = (message: Message, frame: Buffer) => void | Promise<void>;

const HELLO_MS_MAX = 10_000;
export const ANSWER_MS_MAX = 30 * 60_000; // hashing a large file is work, not silence: the heartbeat watches the line

interface Asked {
  take: (message: Message) => boolean;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

interface CreditWaiter {
  bytes: number;
  isUrgent: boolean;
  resolve: () => void;
  reject: (error: Error) => void;
}

export class Session {
  readonly #channel: FrameChannel;
  readonly #window = new CreditWindow();
  readonly #grant = new CreditGrant();
  readonly #asked = new Map<number, Asked>();
  readonly #waiting: CreditWaiter[] = [];
  readonly #hello = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<TowlineError>();
  #handler: MessageHandler | undefined;
  #isOpen = true;
  #hasHello = false;
  #nextRequest = 1;
  #pingsOpen = 0;

  constructor(options: {name: string}, parts: {channel: FrameChannel}) {
    this.#channel = parts.channel;
    this.#hello.promise.catch(() => undefined);
    parts.channel.onClose = (reason) => this.#end(reason);
    parts.channel.onFrame = (frame) => this.#take(frame);
    this.send({
      kind: 'hello',
      ...OWN_TERMS,
      features: [...OWN_TERMS.features],
      name: options.name,
      instance: randomBytes(16),
    });
  }

  /** Resolves when the peer's hello agreed with ours. @throws PROTOCOL, PEER_LOST */
  async ready(): Promise<void> {
    const timer = setTimeout(() => this.fail(this.#lost('no hello came in time', HELLO_MS_MAX)), HELLO_MS_MAX);
    try {
      await this.#hello.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get wireBytes(): number {
    return this.#channel.bytesSent + this.#channel.bytesReceived;
  }

  /** Resolves with the reason when the session is over. */
  get closed(): Promise<TowlineError> {
    return this.#closed.promise;
  }

  /** Everything that is not an answer to a request goes to the handler. */
  set onMessage(handler: MessageHandler) {
    this.#handler = handler;
  }

  /** Sends a message that costs no credit. */
  send(message: Message): void {
    if (this.#isOpen) this.#channel.send(encode(message));
  }

  /** Resolves when the peer has taken most of what was sent; who answers waits for that, so that no answers pile up. */
  drained(): Promise<void> {
    return this.#channel.drained().catch(() => undefined);
  }

  /**
   * Sends a frame that costs credit, waiting for it. Its memory belongs to the session and is freed once it is sent.
   * @param isUrgent goes before others that wait: small changes overtake large files
   * @throws the reason why the session ended
   */
  async sendData(frame: Buffer, isUrgent: boolean): Promise<void> {
    if (!this.#isOpen) throw await this.closed;
    if (this.#waiting.length > 0 || !this.#window.take(frame.length)) await this.#credit(frame.length, isUrgent);
    await this.#channel.drained();
    if (!this.#isOpen) throw await this.closed;
    this.#channel.send(frame, () => release(frame));
  }

  /**
   * Asks, and gives every answer with the request's number to `take` until that returns true.
   * @throws PEER_LOST when it is not answered in time, or the reason why the session ended
   */
  async ask(make: (request: number) => Message, take: (answer: Message) => boolean): Promise<void> {
    if (!this.#isOpen) throw await this.closed;
    const request = this.#nextRequest++;
    const {promise, resolve, reject} = Promise.withResolvers<void>();
    const timer = setTimeout(() => this.fail(this.#lost('a request was not answered', ANSWER_MS_MAX)), ANSWER_MS_MAX);
    const asked = {
      timer,
      reject,
      take: (message: Message) => {
        const isDone = take(message);
        if (isDone) resolve();
        return isDone;
      },
    };
    this.#asked.set(request, asked);
    this.send(make(request));
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#asked.delete(request);
    }
  }

  /** Ends the session because of an error; the peer is told. */
  fail(error: TowlineError): void {
    if (!this.#isOpen) return;
    this.send({kind: 'fault', code: error.code, message: error.message});
    this.#end(error);
    this.#channel.close(error);
  }

  /** Ends the session in peace. */
  close(reason: string): void {
    if (!this.#isOpen) return;
    this.send({kind: 'bye', reason});
    this.#end(new TowlineError('CANCELLED', reason, {signal: 'close'}));
    this.#channel.close();
  }

  #take(frame: Buffer): void {
    try {
      this.#takeChecked(frame);
    } catch (error) {
      if (!isTowlineError(error)) throw error;
      this.fail(error);
    }
  }

  #takeChecked(frame: Buffer): void {
    if (!this.#isOpen) return;
    const {kind} = peek(frame);
    const size = frame.length;
    if (COSTS_CREDIT[kind]) this.#grant.received(size);
    const message = decode(frame);
    if (!this.#hasHello && kind !== 'hello') throw outOfOrder(kind);
    if (this.#takeOwn(message)) return;
    const done = this.#dispatch(message, frame);
    if (COSTS_CREDIT[kind]) void Promise.resolve(done).then(() => this.#giveBack(size));
  }

  #giveBack(size: number): void {
    const bytes = this.#grant.consumed(size);
    if (bytes > 0) this.send({kind: 'credit', bytes});
  }

  /** Messages of the session itself. */
  #takeOwn(message: Message): boolean {
    switch (message.kind) {
      case 'hello':
        if (this.#hasHello) throw outOfOrder('hello');
        negotiate(OWN_TERMS, message);
        this.#hasHello = true;
        this.#hello.resolve();
        return true;
      case 'ping':
        void this.#answerPing(message.nonce);
        return true;
      case 'pong':
        return true;
      case 'credit':
        this.#window.give(message.bytes);
        this.#serveCredit();
        return true;
      case 'fault':
        this.#end(
          new TowlineError('PROTOCOL', `the peer ended the session: ${message.message}`, {
            rule: message.code,
            value: '',
            limit: '',
          }),
        );
        this.#channel.close();
        return true;
      case 'bye':
        this.#end(this.#lost(`the peer said goodbye: ${message.reason}`, 0));
        this.#channel.close();
        return true;
      default:
        return false;
    }
  }

  /** @throws PROTOCOL for more pings than may be open, as with a peer that does not read its pongs */
  #answerPing(nonce: number): Promise<void> {
    if (this.#pingsOpen >= PINGS_OPEN_MAX)
      throw protocolFault('a ping', 'pings without pong', this.#pingsOpen + 1, PINGS_OPEN_MAX);
    this.#pingsOpen++;
    return this.drained().then(() => {
      this.#pingsOpen--;
      this.send({kind: 'pong', nonce});
    });
  }

  #dispatch(message: Message, frame: Buffer): void | Promise<void> {
    const asked = 'request' in message && ANSWERS.has(message.kind) ? this.#asked.get(message.request) : undefined;
    if (asked !== undefined) {
      asked.take(message);
      return;
    }
    if (ANSWERS.has(message.kind)) return; // its asker has given up
    invariant(this.#handler !== undefined, 'a session without a handler');
    return this.#handler(message, frame);
  }

  #credit(bytes: number, isUrgent: boolean): Promise<void> {
    const {promise, resolve, reject} = Promise.withResolvers<void>();
    const waiter = {bytes, isUrgent, resolve, reject};
    const firstPatient = isUrgent ? this.#waiting.findIndex((other) => !other.isUrgent) : -1;
    if (firstPatient >= 0) this.#waiting.splice(firstPatient, 0, waiter);
    else this.#waiting.push(waiter);
    return promise;
  }

  #serveCredit(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#window.take(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.resolve();
    }
  }

  #end(reason: TowlineError): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#closed.resolve(reason);
    this.#hello.reject(reason);
    for (const asked of this.#asked.values()) asked.reject(reason);
    for (const waiter of this.#waiting.splice(0)) waiter.reject(reason);
  }

  #lost(what: string, idleMs: number): TowlineError {
    return new TowlineError('PEER_LOST', `the connection to the peer ended: ${what}`, {
      peer: this.#channel.peerId,
      idleMs,
    });
  }
}

const ANSWERS: ReadonlySet<MessageKind> = new Set([
  'node-listing',
  'file-digests',
  'group-listing',
  'signature',
  'no-signature',
]);

function outOfOrder(kind: MessageKind): TowlineError {
  return new TowlineError('PROTOCOL', `the peer sent ${kind} out of order`, {
    rule: 'order',
    value: kind,
    limit: 'hello first, once',
  });
}
