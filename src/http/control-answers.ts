/**
 * What a control socket answers, as values: JSON objects, whole or a line each. Pure; what is in them is the caller's.
 *
 * Invariant: what is no object is told as such, and no line grows beyond the limit.
 */
import {messageOf} from '../base/errors.ts';

export const ANSWER_BYTES_MAX = 64 << 20; // 1,000 problems with the longest paths
const NEWLINE = 0x0a;

/** Makes the error for an answer that cannot be used, from what is wrong with it. */
export type NotUnderstood = (what: string) => Error;

/** @throws what `notUnderstood` makes */
export function readAnswer(text: string, notUnderstood: NotUnderstood): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notUnderstood(messageOf(error));
  }
  if (typeof value !== 'object' || value === null) throw notUnderstood('an answer that is no object');
  return value;
}

/** Lines of pieces, without their ends; what follows the last end is none. @throws what `notUnderstood` makes */
export async function* splitLines(
  pieces: AsyncIterable<Buffer>,
  notUnderstood: NotUnderstood,
  bytesMax = ANSWER_BYTES_MAX,
): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  for await (const piece of pieces) {
    let from = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, from)) {
      yield Buffer.concat([...waiting, piece.subarray(from, end)]);
      waiting = [];
      waitingBytes = 0;
      from = end + 1;
    }
    waiting.push(piece.subarray(from));
    waitingBytes += piece.length - from;
    if (waitingBytes > bytesMax) throw notUnderstood(`a line above ${bytesMax} bytes`);
  }
}
