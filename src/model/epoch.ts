/**
 * The epoch of a volume: how often another agent became its source, and a random number of the last time. Pure.
 *
 * Both stand in one number of 53 bits on the wire and in the state, so that two promotions which nobody knew of each
 * other are told apart. Invariant: an epoch only grows, a peer can raise it by a bounded step, and it never overflows.
 */
import {invariant} from '../base/errors.ts';

export interface Epoch {
  /** 1 for a volume that was never promoted. */
  number: number;
  /** Of the promotion that began it; 0 in the first epoch. */
  token: number;
}

export const FIRST_EPOCH: Epoch = {number: 1, token: 0};
export const EPOCH_TOKEN_MAX = 2 ** 32 - 1;
export const EPOCH_NUMBER_MAX = 2 ** 21 - 1; // with the token it has 53 bits
/** What a target that was away may have missed. A larger step is no count of promotions but a mistake, or an attack. */
export const EPOCH_STEP_MAX = 1_000;

const TOKEN_RANGE = EPOCH_TOKEN_MAX + 1;

/** The first epoch is 1, as agents that know of no other say it. */
export function packEpoch({number, token}: Epoch): number {
  const isRight = number >= 1 && number <= EPOCH_NUMBER_MAX && token >= 0 && token <= EPOCH_TOKEN_MAX;
  invariant(isRight, `epoch ${number} with token ${token}`);
  return number === 1 ? 1 : number * TOKEN_RANGE + token;
}

/** @param packed 0 to 2^53-1, whatever a peer says: what is below 2^33 is the first epoch */
export function unpackEpoch(packed: number): Epoch {
  const number = Math.floor(packed / TOKEN_RANGE);
  return number < 2 ? FIRST_EPOCH : {number, token: packed % TOKEN_RANGE};
}

/** `rival`: another promotion to the same number. `far`: newer by more than is believed. */
export type EpochVerdict = 'same' | 'newer' | 'older' | 'rival' | 'far';

/** How another agent's epoch stands to ours. */
export function judgeEpoch(ours: Epoch, theirs: Epoch): EpochVerdict {
  if (theirs.number > ours.number) return theirs.number - ours.number > EPOCH_STEP_MAX ? 'far' : 'newer';
  if (theirs.number < ours.number) return 'older';
  return theirs.token === ours.token ? 'same' : 'rival';
}

/**
 * The epoch of a promotion: above all that are known.
 * @param token random, 0 to 2^32-1
 * @returns undefined when there is none left
 */
export function nextEpoch(known: readonly Epoch[], token: number): Epoch | undefined {
  const number = Math.max(...known.map((epoch) => epoch.number)) + 1;
  return number > EPOCH_NUMBER_MAX ? undefined : {number, token};
}
