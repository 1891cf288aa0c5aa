/**
 * What a decoder under attack is: valid inputs to begin with, how they are changed, and what its faults may be.
 */
import {isTowlineError, type ErrorCode} from '../../../src/base/errors.ts';
import {mutated, type Material, type Random} from '../mutations.ts';

/** What the attacked process notes in a file: the seed at work, 0 between two orders, and its input; 4 bytes each. */
export const PLACE_BYTES = 8;

export interface Decoder extends Material {
  name: string;
  /** How an input is made of the corpus; `mutated` where it is not said. */
  mutate?: (material: Material, random: Random) => Buffer;
  /** Codes of the errors that are an answer. */
  refuses: readonly ErrorCode[];
  /**
   * Reads one input, and whatever of it is only read later.
   * @throws an error with one of those codes, or anything else where it is wrong
   */
  decode: (input: Buffer) => void | Promise<void>;
  /** What its inputs cost at most, where that is more than the usual. */
  inputMsMax?: number;
}

export function inputOf(decoder: Decoder, random: Random): Buffer {
  return (decoder.mutate ?? mutated)(decoder, random);
}

/** @returns undefined when it was taken, or refused with one of its codes; else what is wrong */
export function faultOf({refuses}: Decoder, error: unknown): string | undefined {
  if (isTowlineError(error) && refuses.includes(error.code)) return undefined;
  if (isTowlineError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

export function must(isTrue: boolean, what: string): void {
  if (!isTrue) throw new Error(what);
}
