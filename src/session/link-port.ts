/**
 * One link's share of a session, and the session as a link sees it.
 *
 * A link does not know whether it has the session for itself (`sync`) or shares it with others (agents).
 * Invariant: after a port is closed nothing of its link is sent, and who waits on it gets the reason.
 */
import {Ending} from '../base/ending.ts';
import type {TowlineError} from '../base/errors.ts';
import {protocolFault} from '../wire/fault.ts';
import type {Message} from '../wire/messages.ts';
import type {Feature} from '../wire/negotiate.ts';

/** Takes one message; the frame's credit goes back when it resolves. Messages are handed over in order. */
export type MessageHandler = (message: Message, frame: Buffer) => void | Promise<void>;

/** Waits until so many bytes may be sent. @throws the reason of the end */
export type Pacer = (bytes: number) => Promise<void>;

/** What the two ends of a link need of a session. */
export interface LinkSession {
  readonly isOpen: boolean;
  /** Resolves with the reason when the session, or the link, is over. */
  readonly closed: Promise<TowlineError>;
  set onMessage(handler: MessageHandler);
  /** Whether both sides have a feature (wire/negotiate.ts). */
  speaks(feature: Feature): boolean;
  /** Sends a message that costs no credit. */
  send(message: Message): void;
  /** Sends a frame that costs credit; urgent ones overtake others. @returns bytes sent @throws the reason of the end */
  sendData(frame: Buffer, isUrgent: boolean, pace?: Pacer): Promise<number>;
  /** Asks, and gives answers to `take` until that returns true. @throws the reason of the end */
  ask(make: (request: number) => Message, take: (answer: Message) => boolean, ending?: Ending): Promise<void>;
  drained(): Promise<void>;
  /** Ends the whole session: the peer broke the protocol. */
  fail(error: TowlineError): void;
}

export interface LinkPortParts {
  session: LinkSession;
  /** Waits until so many bytes may be sent; undefined where nothing limits them. */
  pace: ((bytes: number, isUrgent: boolean) => Promise<void>) | undefined;
}

const EARLY_MAX = 4; // a source says nothing more before the link is open

export class LinkPort implements LinkSession {
  /** The link's number on the wire. */
  readonly link: number;
  readonly #parts: LinkPortParts;
  readonly #closed = Promise.withResolvers<TowlineError>();
  readonly #ending = new Ending();
  #handler: MessageHandler | undefined;
  /** What came before there was a handler: the request that opens the link, and little more. */
  #early: {message: Message; frame: Buffer; done: (work: void | Promise<void>) => void}[] = [];
  #isOpen = true;
  /** Set once what still comes is held until then. */
  #sessionOver: Promise<void> | undefined;
  #bytesSent = 0;

  constructor(options: {link: number}, parts: LinkPortParts) {
    this.link = options.link;
    this.#parts = parts;
    void parts.session.closed.then((reason) => this.close(reason));
  }

  get isOpen(): boolean {
    return this.#isOpen && this.#parts.session.isOpen;
  }

  get closed(): Promise<TowlineError> {
    return this.#closed.promise;
  }

  speaks(feature: Feature): boolean {
    return this.#parts.session.speaks(feature);
  }

  /** What comes still is held until the session ends. */
  get endsWithSession(): boolean {
    return this.#sessionOver !== undefined;
  }

  /** Bytes of frames that cost credit, as they were sent. */
  get bytesSent(): number {
    return this.#bytesSent;
  }

  set onMessage(handler: MessageHandler) {
    this.#handler = handler;
    for (const {message, frame, done} of this.#early.splice(0)) done(handler(message, frame));
  }

  /** A message of this link came. */
  take(message: Message, frame: Buffer): void | Promise<void> {
    if (this.#sessionOver !== undefined) return this.#sessionOver;
    if (!this.#isOpen) return undefined;
    if (this.#handler !== undefined) return this.#handler(message, frame);
    if (this.#early.length >= EARLY_MAX)
      throw protocolFault('a link', 'messages before it is open', EARLY_MAX + 1, EARLY_MAX);
    return new Promise((done) => this.#early.push({message, frame, done}));
  }

  send(message: Message): void {
    if (this.#isOpen) this.#parts.session.send(message);
  }

  async sendData(frame: Buffer, isUrgent: boolean): Promise<number> {
    const {session, pace} = this.#parts;
    if (!this.#isOpen) throw await this.closed;
    const pacer = pace && ((bytes: number) => this.#ending.orEnd(pace(bytes, isUrgent)));
    const sentBytes = await this.#ending.orEnd(session.sendData(frame, isUrgent, pacer));
    this.#bytesSent += sentBytes;
    return sentBytes;
  }

  async ask(make: (request: number) => Message, take: (answer: Message) => boolean, ending?: Ending): Promise<void> {
    if (!this.#isOpen) throw await this.closed;
    const either = new Ending();
    const forget = [this.#ending, ending].map((each) => each?.whenOver((reason) => either.end(reason)));
    try {
      await this.#parts.session.ask(make, take, either);
    } finally {
      for (const one of forget) one?.();
    }
  }

  drained(): Promise<void> {
    return this.#parts.session.drained();
  }

  fail(error: TowlineError): void {
    this.#parts.session.fail(error);
  }

  /** Ends this link alone. */
  close(reason: TowlineError): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#ending.end(reason);
    this.#closed.resolve(reason);
  }

  /**
   * Ends this link because the session ends soon, which the peer has not heard yet. What it still sends is dropped, and
   * gets no credit back: else it would go on sending, as fast as ever, what it has to send again.
   */
  closeWithSession(reason: TowlineError): void {
    if (!this.#isOpen) return;
    this.#sessionOver = this.#parts.session.closed.then(() => undefined);
    this.close(reason);
  }
}
