/**
 * A session as one link sees it: over as soon as the link is, although the connection may go on.
 *
 * Not a session of its own: it sends nothing by itself. Invariant: nobody waits for an answer of a link that is over.
 */
import type {Ending} from '../base/ending.ts';
import type {TowlineError} from '../base/errors.ts';
import type {Message} from '../wire/messages.ts';
import type {Feature} from '../wire/negotiate.ts';
import type {LinkSession, MessageHandler} from './link-port.ts';

export class LinkedSession implements LinkSession {
  readonly closed: Promise<TowlineError>;
  readonly #session: LinkSession;
  readonly #ending: Ending;

  /** @param ending of the link, which ends with the session at the latest; with a TowlineError */
  constructor(session: LinkSession, ending: Ending) {
    this.#session = session;
    this.#ending = ending;
    this.closed = new Promise((resolve) => ending.whenOver((reason) => resolve(reason as TowlineError)));
  }

  get isOpen(): boolean {
    return !this.#ending.isOver && this.#session.isOpen;
  }

  set onMessage(handler: MessageHandler) {
    this.#session.onMessage = handler;
  }

  speaks(feature: Feature): boolean {
    return this.#session.speaks(feature);
  }

  send(message: Message): void {
    if (this.isOpen) this.#session.send(message);
  }

  async sendData(frame: Buffer, isUrgent: boolean): Promise<number> {
    if (!this.isOpen) throw await this.closed;
    return this.#ending.orEnd(this.#session.sendData(frame, isUrgent));
  }

  async ask(make: (request: number) => Message, take: (answer: Message) => boolean): Promise<void> {
    if (!this.isOpen) throw await this.closed;
    await this.#session.ask(make, take, this.#ending);
  }

  drained(): Promise<void> {
    return this.#session.drained();
  }

  fail(error: TowlineError): void {
    this.#session.fail(error);
  }
}
