/**
 * One connection's conversation: hello both ways, byte credits, requests with deadlines, messages in order.
 *
 * Not a link: it knows no volume, and hands every message to one handler, a link's or that of many (session-links.ts).
 * Invariants: nothing but hello is sent or taken before both hellos agreed; a frame that costs credit is sent only when
 * the peer gave it, and its credit goes back when it was worked off; of a compressed frame it is what it expands to.
 */
import {randomBytes} from 'node:crypto';
import {later, systemClock, type Clock} from '../base/clock.ts';
import {Ending} from '../base/ending.ts';
import {release} from '../base/memory.ts';
import {invariant, isTowlineError, TowlineError} from '../base/errors.ts';
import {decode, encode, peek} from '../wire/codec.ts';
import {COSTS_CREDIT, CreditGrant, creditKey, CreditWindow, type LinkOfCredit} from '../wire/credits.ts';
import {SENT_BY} from '../wire/direction.ts';
import {protocolFault} from '../wire/fault.ts';
import {ANSWER_DEADLINE_MS, HELLO_DEADLINE_MS, PINGS_OPEN_MAX} from '../wire/limits.ts';
import type {Message, MessageKind, MessageOf} from '../wire/messages.ts';
import {negotiate, OWN_TERMS, type Feature} from '../wire/negotiate.ts';
import {CreditQueue} from './credit-queue.ts';
import {expanded, expandedBytes, isCompressed, ZSTD_FLAG} from '../wire/zstd.ts';
import {Compressor, ConnectionSpeed} from './compressor.ts';
import type {LinkSession, MessageHandler, Pacer} from './link-port.ts';

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

const GIVE_MS = 10; // after the first frame that was worked off

interface Asked {
  take: (message: Message) => boolean;
  reject: (error: Error) => void;
}

export interface SessionOptions {
  name: string;
  /** Random for each start of this program; made up when it does not matter. */
  instance?: Buffer;
  /** Whether several links share the session. */
  isShared?: boolean;
  /** Both ends are in one process: nothing is gained by compressing. */
  isInProcess?: boolean;
}

export class Session implements LinkSession {
  readonly #channel: FrameChannel;
  readonly #window: CreditWindow;
  readonly #queue: CreditQueue;
  readonly #grant = new CreditGrant();
  readonly #isShared: boolean;
  readonly #clock: Clock;
  readonly #compressor: Compressor | undefined;
  #keepSaving: (() => void) | undefined;
  /** Worked off and not given back yet, by link. */
  readonly #workedOff = new Map<number, {of: LinkOfCredit; bytes: number}>();
  readonly #asked = new Map<number, Asked>();
  readonly #hello = Promise.withResolvers<MessageOf<'hello'>>();
  readonly #closed = Promise.withResolvers<TowlineError>();
  #handler: MessageHandler | undefined;
  #isOpen = true;
  #hasHello = false;
  #features: readonly string[] = [];
  #nextRequest = 1;
  #pingsOpen = 0;
  readonly #ending = new Ending();
  readonly #probes = new Map<number, () => void>();

  /** @param parts `clock`: for deadlines; that of the system where it is missing */
  constructor(options: SessionOptions, parts: {channel: FrameChannel; clock?: Clock}) {
    this.#channel = parts.channel;
    this.#clock = parts.clock ?? systemClock;
    this.#isShared = options.isShared ?? false;
    this.#compressor = options.isInProcess === true ? undefined : new Compressor(new ConnectionSpeed(this.#clock));
    this.#window = new CreditWindow(undefined, {isShared: this.#isShared});
    this.#queue = new CreditQueue(this.#window);
    this.#hello.promise.catch(() => undefined);
    parts.channel.onClose = (reason) => this.#end(reason);
    parts.channel.onFrame = (frame) => this.#take(frame);
    this.send({
      kind: 'hello',
      ...OWN_TERMS,
      features: [...OWN_TERMS.features],
      name: options.name,
      instance: options.instance ?? randomBytes(16),
    });
  }

  /** Resolves with the peer's hello when it agreed with ours. @throws PROTOCOL, PEER_LOST */
  async ready(): Promise<MessageOf<'hello'>> {
    const late = (): void => this.fail(this.#lost('no hello came in time', HELLO_DEADLINE_MS));
    const inTime = later(this.#clock, HELLO_DEADLINE_MS, late);
    try {
      return await this.#hello.promise;
    } finally {
      inTime();
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether both sides named a feature: false before both hellos agreed. */
  speaks(feature: Feature): boolean {
    return this.#features.includes(feature);
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
   * @param pace waits until so many bytes may go
   * @returns bytes that go on the wire: fewer than the frame has where it is compressed
   * @throws the reason why the session ended
   */
  async sendData(frame: Buffer, isUrgent: boolean, pace?: Pacer): Promise<number> {
    if (!this.#isOpen) throw await this.closed;
    const of = linkOf(peek(frame), 'sent');
    const {length} = frame;
    const compressor = this.speaks('zstd') ? this.#compressor : undefined;
    const sent = compressor?.compressed(frame, pace !== undefined) ?? frame;
    const sentBytes = sent.length;
    if (sent !== frame) release(frame);
    if (pace !== undefined) {
      await pace(sentBytes);
      if (!this.#isOpen) throw await this.closed;
    }
    await this.#queue.take(length, of, isUrgent);
    await this.#channel.drained();
    if (!this.#isOpen) throw await this.closed;
    compressor?.speed.sent(sentBytes);
    this.#channel.send(sent, () => {
      compressor?.speed.written(sentBytes);
      release(sent);
    });
    return sentBytes;
  }

  /**
   * Asks, and gives every answer with the request's number to `take` until that returns true.
   * @throws PEER_LOST when it is not answered in time, or the reason why the session ended
   */
  async ask(
    make: (request: number) => Message,
    take: (answer: Message) => boolean,
    ending: Ending = this.#ending,
  ): Promise<void> {
    if (!this.#isOpen) throw await this.closed;
    const request = this.#nextRequest++;
    const question = make(request);
    const {promise, resolve, reject} = Promise.withResolvers<void>();
    const late = (): void => this.fail(this.#lost('a request was not answered', ANSWER_DEADLINE_MS));
    const inTime = TAKES_LONG.has(question.kind) ? () => undefined : later(this.#clock, ANSWER_DEADLINE_MS, late);
    const asked = {
      reject,
      take: (message: Message) => {
        const isDone = take(message);
        if (isDone) resolve();
        return isDone;
      },
    };
    this.#asked.set(request, asked);
    this.send(question);
    try {
      await ending.orEnd(promise);
    } finally {
      inTime();
      this.#asked.delete(request);
    }
  }

  /** Whether the peer's program still answers, and not only its socket. @throws PEER_LOST when it does not in time */
  async probe(deadlineMs: number): Promise<void> {
    if (!this.#isOpen) throw await this.closed;
    const nonce = this.#nextRequest++;
    const {promise, resolve} = Promise.withResolvers<void>();
    this.#probes.set(nonce, resolve);
    this.send({kind: 'ping', nonce});
    const late = Promise.withResolvers<never>();
    const inTime = later(this.#clock, deadlineMs, () => late.reject(this.#lost('it does not answer', deadlineMs)));
    const over = this.closed.then((reason) => Promise.reject(reason));
    over.catch(() => undefined);
    try {
      await Promise.race([promise, late.promise, over]);
    } finally {
      inTime();
      this.#probes.delete(nonce);
    }
  }

  /** A link is over: nothing is kept for it. */
  forgetLink(of: LinkOfCredit): void {
    this.#queue.forget(of);
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

  #takeChecked(received: Buffer): void {
    if (!this.#isOpen) return;
    const header = peek(received, this.speaks('zstd') ? ZSTD_FLAG : 0);
    const {kind} = header;
    const isSmall = isCompressed(received);
    if (isSmall && !COSTS_CREDIT[kind]) throw protocolFault(kind, 'flags', ZSTD_FLAG, 0);
    const size = isSmall ? expandedBytes(received) : received.length;
    if (COSTS_CREDIT[kind]) this.#grant.received(size);
    const frame = isSmall ? expanded(received, size) : received;
    const message = decode(frame);
    if (!this.#hasHello && kind !== 'hello') throw outOfOrder(kind);
    if (this.#takeOwn(message)) return;
    const done = this.#dispatch(message, frame);
    if (COSTS_CREDIT[kind]) void Promise.resolve(done).then(() => this.#giveBack(size, linkOf(header, 'received')));
  }

  #giveBack(size: number, of: LinkOfCredit): void {
    const key = creditKey(of);
    const bytes = (this.#workedOff.get(key)?.bytes ?? 0) + size;
    this.#workedOff.set(key, {of, bytes});
    if (this.#grant.consumed(size) > 0) return this.#giveAllBack();
    // With several links what is left of the window may be less than what is saved up here: nobody waits for ever.
    if (this.#isShared)
      this.#keepSaving ??= later(this.#clock, GIVE_MS, () => {
        if (this.#grant.takeSaved() > 0) this.#giveAllBack();
      });
  }

  #giveAllBack(): void {
    this.#keepSaving?.();
    this.#keepSaving = undefined;
    for (const worked of this.#workedOff.values())
      this.send({kind: 'credit', bytes: worked.bytes, of: worked.of.link, isOurs: worked.of.isOurs});
    this.#workedOff.clear();
  }

  /** Messages of the session itself. */
  #takeOwn(message: Message): boolean {
    switch (message.kind) {
      case 'hello':
        if (this.#hasHello) throw outOfOrder('hello');
        this.#features = negotiate(OWN_TERMS, message).features;
        this.#hasHello = true;
        this.#hello.resolve(message);
        return true;
      case 'ping':
        void this.#answerPing(message.nonce);
        return true;
      case 'pong':
        this.#probes.get(message.nonce)?.();
        return true;
      case 'credit':
        this.#window.give(message.bytes, {link: message.of, isOurs: !message.isOurs});
        this.#queue.serve();
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

  #end(reason: TowlineError): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#ending.end(reason);
    this.#keepSaving?.();
    this.#closed.resolve(reason);
    this.#hello.reject(reason);
    for (const asked of this.#asked.values()) asked.reject(reason);
    this.#queue.rejectAll(reason);
  }

  #lost(what: string, idleMs: number): TowlineError {
    return new TowlineError('PEER_LOST', `the connection to the peer ended: ${what}`, {
      peer: this.#channel.peerId,
      idleMs,
    });
  }
}

/** Whose frame it is: what a source sends is of a link that it numbered. */
function linkOf({kind, link}: {kind: MessageKind; link: number}, way: 'sent' | 'received'): LinkOfCredit {
  const isFromSource = SENT_BY[kind] === 'source';
  return {link, isOurs: isFromSource === (way === 'sent')};
}

/** What is read from disk however large it is, because an operator wants it: no link waits for that. */
const TAKES_LONG: ReadonlySet<MessageKind> = new Set(['verify-files']);

const ANSWERS: ReadonlySet<MessageKind> = new Set([
  'node-listing',
  'file-digests',
  'group-listing',
  'signature',
  'no-signature',
  'volume-source',
  'leaves-held',
]);

function outOfOrder(kind: MessageKind): TowlineError {
  return new TowlineError('PROTOCOL', `the peer sent ${kind} out of order`, {
    rule: 'order',
    value: kind,
    limit: 'hello first, once',
  });
}
