/**
 * Single values of a configuration, as its schema checks them: a text in, a value or a sentence out.
 *
 * Not the keys that they stand at (agent-schema.ts). Invariant: every fault says what is allowed.
 */
import {isAbsolute, normalize} from 'node:path';
import {z} from 'zod';
import {isTowlineError, TowlineError} from '../base/errors.ts';
import {NAME, NAME_ALLOWED} from '../model/name.ts';
import {parseCount, parseDuration, parseSize, spellDuration} from './units.ts';

const RATE_BYTES_MIN = 1_000; // below it not even the heartbeats get through in time

/** An error that is a whole sentence, not one about what was found and what is allowed. */
export class Sentence extends Error {}

/** A value that is one text. @param more what an editor may know about it */
export function leaf<T>(allowed: string, parse: (text: string) => T, more: Record<string, unknown> = {}) {
  return z
    .string({error: () => allowed})
    .transform((text, context) => {
      try {
        return parse(text);
      } catch (error) {
        context.addIssue({code: 'custom', message: sentenceOf(error, text, allowed)});
        return z.NEVER;
      }
    })
    .meta({description: allowed, ...more});
}

function sentenceOf(error: unknown, text: string, allowed: string): string {
  if (error instanceof Sentence) return error.message;
  if (!isTowlineError(error) || error.code !== 'USAGE') throw error;
  return `found ${showText(text)}; allowed is ${(error.details as {hint: string}).hint || allowed}`;
}

/** A text of a file in quotes, cut. */
export function showText(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

export function notAllowed(hint = ''): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', 'is not allowed', {hint});
}

export function oneOf<const T extends string>(values: readonly T[]) {
  const allowed = values.join(' or ');
  const parse = (text: string): T => {
    const found = values.find((value) => value === text);
    if (found === undefined) throw notAllowed();
    return found;
  };
  return leaf(allowed, parse, {enum: values});
}

export const NUMBER_OR_TEXT = {type: ['string', 'number']};

export function duration(msMin: number, msMax: number) {
  const allowed = `a duration from ${spellDuration(msMin)} to ${spellDuration(msMax)}, like 500ms, 2s, 15m, 1h or 7d`;
  const parse = (text: string): number => {
    const ms = attempt(() => parseDuration(text));
    if (ms === undefined || ms < msMin || ms > msMax) throw notAllowed();
    return ms;
  };
  return leaf(allowed, parse, NUMBER_OR_TEXT);
}

export const size = () => leaf('a size like 64MiB or 10GB, 0 for no limit', parseSize, NUMBER_OR_TEXT);

export const rate = () =>
  leaf(
    'bytes a second, like 1MiB, at least 1kB; 0 for no limit',
    (text) => {
      const bytes = parseSize(text);
      if (bytes > 0 && bytes < RATE_BYTES_MIN) throw notAllowed();
      return bytes;
    },
    NUMBER_OR_TEXT,
  );

export function count(min: number, max: number, what: string) {
  const parse = (text: string): number => {
    const found = attempt(() => parseCount(text));
    if (found === undefined || found < min || found > max) throw notAllowed();
    return found;
  };
  return leaf(what, parse, NUMBER_OR_TEXT);
}

export function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

export function refuseNul(text: string): string {
  if (text.includes('\0')) throw notAllowed();
  return text;
}

export const name = (what: string) =>
  leaf(
    what,
    (text) => {
      if (!NAME.test(text)) throw notAllowed(NAME_ALLOWED);
      return text;
    },
    {type: ['string', 'number']},
  );

export const absolutePath = (what: string) =>
  leaf(what, (text) => {
    if (!isAbsolute(text) || text.includes('\0') || text.split('/').includes('..')) throw notAllowed();
    return text.length > 1 ? normalize(text).replace(/\/$/, '') : text;
  });

export function raise(error: Error): never {
  throw error;
}
