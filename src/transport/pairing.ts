/**
 * An invitation while it is open: what its code is, and who may come in on it.
 *
 * Holds no socket and no file: the listener brings messages, its owner writes the peer down. Invariant: it lets in one
 * agent, within its time, before too many wrong tries; that one again when it did not hear the answer.
 */
import {randomBytes} from 'node:crypto';
import type {Clock} from '../base/clock.ts';
import {TowlineError} from '../base/errors.ts';
import type {HostPort} from '../config/agent-config.ts';
import {decodeJoin, encodeAnswer, type JoinRequest, type PairingEnds} from '../wire/pairing-messages.ts';
import type {AgentId, Identity} from './identity.ts';
import {checkAddresses, SECRET_BYTES, writeCode} from './pairing-code.ts';

export const INVITATION_MS = 600_000;
export const TRIES_MAX = 5;

export type Verdict =
  /** The answer is sent and the connection closed. */
  | {isRight: false; answer: Buffer; triesLeft: number}
  /** `joined` once the peer is written down, `failed` when that could not be done. */
  | {isRight: true; joiner: JoinRequest; joined(): Buffer; failed(): Buffer};

export interface Invitation {
  readonly code: string;
  /** Of the clock for people. */
  readonly expiresMs: number;
  readonly addresses: readonly HostPort[];
  /** Why it lets nobody in any more; undefined while it does. */
  readonly closedBy: 'joined' | 'expired' | 'tries' | 'withdrawn' | undefined;
  /** Whether a message of this peer is worth waiting for. */
  isOpenTo(peerId: AgentId): boolean;
  /** @param message PAIRING_BYTES of one that `isOpenTo` */
  judge(message: Buffer, peerId: AgentId): Verdict;
  withdraw(): void;
}

/** @throws TowlineError USAGE for too many addresses or none */
export function openInvitation(
  options: {identity: Identity; name: string; addresses: readonly HostPort[]},
  parts: {clock: Clock},
): Invitation {
  checkAddresses(options.addresses);
  if (options.addresses.length === 0) {
    const hint = 'give one with --address HOST:PORT';
    throw new TowlineError('USAGE', `no address of this host is known that a peer could dial: ${hint}`, {hint});
  }
  return new OpenInvitation(options, parts.clock);
}

class OpenInvitation implements Invitation {
  readonly code: string;
  readonly expiresMs: number;
  readonly addresses: readonly HostPort[];
  readonly #identity: Identity;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #secret = randomBytes(SECRET_BYTES);
  readonly #endMs: number;
  #wrongCount = 0;
  #isWithdrawn = false;
  #joinedId: AgentId | undefined;

  constructor(options: {identity: Identity; name: string; addresses: readonly HostPort[]}, clock: Clock) {
    const {identity, name, addresses} = options;
    this.#identity = identity;
    this.#name = name;
    this.#clock = clock;
    this.addresses = addresses;
    this.#endMs = clock.monotonicMs() + INVITATION_MS;
    this.expiresMs = clock.nowMs() + INVITATION_MS;
    this.code = writeCode({id: identity.id, secret: this.#secret, addresses: [...addresses]});
  }

  get closedBy(): 'joined' | 'expired' | 'tries' | 'withdrawn' | undefined {
    if (this.#joinedId !== undefined) return 'joined';
    if (this.#isWithdrawn) return 'withdrawn';
    if (this.#wrongCount >= TRIES_MAX) return 'tries';
    return this.#clock.monotonicMs() >= this.#endMs ? 'expired' : undefined;
  }

  isOpenTo(peerId: AgentId): boolean {
    const isInTime = this.#clock.monotonicMs() < this.#endMs;
    return this.closedBy === undefined || (this.#joinedId === peerId && isInTime && !this.#isWithdrawn);
  }

  judge(message: Buffer, peerId: AgentId): Verdict {
    const ends: PairingEnds = {secret: this.#secret, joinerId: peerId, inviterId: this.#identity.id};
    const joiner = this.isOpenTo(peerId) ? decodeJoin(message, ends) : undefined;
    if (joiner === undefined) {
      this.#wrongCount++;
      const triesLeft = Math.max(0, TRIES_MAX - this.#wrongCount);
      return {isRight: false, answer: encodeAnswer('wrong-code', '', ends), triesLeft};
    }
    return {
      isRight: true,
      joiner,
      joined: () => {
        this.#joinedId = peerId;
        return encodeAnswer('welcome', this.#name, ends);
      },
      failed: () => encodeAnswer('failed', '', ends),
    };
  }

  withdraw(): void {
    this.#isWithdrawn = true;
  }
}
