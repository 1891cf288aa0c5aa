/**
 * The links of one session: numbers them, hands each its messages, and meets links that the peer opens.
 *
 * Knows no volume. Invariants: a number is used once; messages of a link that is over are dropped, and get their credit
 * back unless it ends with the session; messages of one that never was are a breach; at most LINKS_OPEN_MAX links of the peer are open.
 */
import {TowlineError} from '../base/errors.ts';
import {SENT_BY} from '../wire/direction.ts';
import {protocolFault} from '../wire/fault.ts';
import {LINKS_OPEN_MAX} from '../wire/limits.ts';
import type {Message, MessageOf} from '../wire/messages.ts';
import {LinkPort, type LinkPortParts} from './link-port.ts';
import type {Session} from './session.ts';

export interface SessionLinksParts {
  session: Session;
  /** The peer opens a link; the handler sets the port's `onMessage`, which then gets the request first. */
  onOpen(request: MessageOf<'open-link'>, port: LinkPort): void;
  /** Messages of the session that concern agents. */
  onAgentMessage(message: Message): void;
}

export class SessionLinks {
  readonly #parts: SessionLinksParts;
  /** Links whose source is here, by number. */
  readonly #ours = new Map<number, LinkPort>();
  /** Links whose source is the peer. */
  readonly #theirs = new Map<number, LinkPort>();
  #nextOurs = 1;
  /** All numbers of the peer up to this one were used. */
  #lastTheirs = 0;

  constructor(parts: SessionLinksParts) {
    this.#parts = parts;
    parts.session.onMessage = (message, frame) => this.#take(message, frame);
  }

  /** A port for a link whose source is here. @param pace see LinkPort */
  newSource(pace: LinkPortParts['pace']): LinkPort {
    const port = new LinkPort({link: this.#nextOurs++}, {session: this.#parts.session, pace});
    this.#ours.set(port.link, port);
    void port.closed.then(() => this.#ours.delete(port.link));
    return port;
  }

  /** Ends a link whose source is here; the peer is told. */
  closeSource(port: LinkPort, reason: string): void {
    if (!port.isOpen) return;
    port.send({kind: 'close-link', link: port.link, reason});
    port.close(new TowlineError('CANCELLED', reason, {signal: 'close'}));
    this.#parts.session.forgetLink({link: port.link, isOurs: true});
  }

  #take(message: Message, frame: Buffer): void | Promise<void> {
    if (!('link' in message)) return this.#parts.onAgentMessage(message);
    if (message.kind === 'open-link') return this.#open(message, frame);
    const isFromSource = SENT_BY[message.kind] === 'source';
    const port = (isFromSource ? this.#theirs : this.#ours).get(message.link);
    if (port === undefined) {
      const last = isFromSource ? this.#lastTheirs : this.#nextOurs - 1;
      if (message.link <= last) return; // on its way while the link was closed
      throw protocolFault('a message', 'link', message.link, 'one that is open');
    }
    if (message.kind === 'close-link') return this.#closed(message, port);
    return port.take(message, frame);
  }

  #open(message: MessageOf<'open-link'>, frame: Buffer): void | Promise<void> {
    if (message.link <= this.#lastTheirs)
      throw protocolFault('open-link', 'number of the link', message.link, `above ${this.#lastTheirs}`);
    if (this.#theirs.size >= LINKS_OPEN_MAX)
      throw protocolFault('open-link', 'open links', this.#theirs.size + 1, LINKS_OPEN_MAX);
    this.#lastTheirs = message.link;
    const port = new LinkPort({link: message.link}, {session: this.#parts.session, pace: undefined});
    this.#theirs.set(port.link, port);
    void port.closed.then(() => port.endsWithSession || this.#theirs.delete(port.link));
    this.#parts.onOpen(message, port);
    return port.take(message, frame);
  }

  #closed(message: MessageOf<'close-link'>, port: LinkPort): void {
    port.close(new TowlineError('PEER_LOST', `the source closed the link: ${message.reason}`, {peer: '', idleMs: 0}));
    this.#parts.session.forgetLink({link: port.link, isOurs: false});
  }
}
