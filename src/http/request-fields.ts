/**
 * Checks what a request brings, field by field, against a shape. Not a schema language: a field is a text, a number, a
 * yes or no, or a list of texts.
 *
 * Invariant: what comes out has every field of the shape, within its bounds, and no other.
 */
import {messageOf, TowlineError} from '../base/errors.ts';

/** Returns the value, or throws a FieldFault. */
type Check<T> = (value: unknown) => T;
export type Shape = Record<string, Check<unknown>>;
export type Fields<S extends Shape> = {[K in keyof S]: ReturnType<S[K]>};

const TEXT_CHARS_MAX = 4_096; // PATH_MAX
const CURSOR_CHARS_MAX = 400_000; // holds the longest path (model/path.ts), every byte of it escaped for JSON
const LIST_COUNT_MAX = 1_000;
const SHOWN_CHARS_MAX = 60;

class FieldFault extends Error {}

/** 1 to 4,096 characters. */
export const text: Check<string> = textOf(TEXT_CHARS_MAX);
export const optionalText: Check<string | undefined> = optional(text);
/** Where to go on, as an answer gave it. */
export const optionalCursor: Check<string | undefined> = optional(textOf(CURSOR_CHARS_MAX));

/** Missing is no. */
export const flag: Check<boolean> = (value) => {
  if (value === undefined) return false;
  return typeof value === 'boolean' ? value : fault('true or false', value);
};

/** Missing is empty. */
export const texts: Check<string[]> = (value) => {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > LIST_COUNT_MAX)
    return fault(`a list of at most ${LIST_COUNT_MAX}`, value);
  return value.map(text);
};

/** A whole number; in a query it is written in digits. */
export function whole(min: number, max: number): Check<number> {
  return (value) => {
    const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
    const isRight = Number.isSafeInteger(number) && (number as number) >= min && (number as number) <= max;
    return isRight ? (number as number) : fault(`a whole number from ${min} to ${max}`, value);
  };
}

/** A request's body as JSON; an empty one is an object without fields. @throws TowlineError USAGE */
export function readJson(body: Buffer): unknown {
  if (body.length === 0) return {};
  try {
    return JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(body)) as unknown;
  } catch (error) {
    throw usage(`the request is not JSON: ${messageOf(error)}`, 'call it through the towline command');
  }
}

/** @throws TowlineError USAGE naming the field, what was found and what is allowed */
export function readFields<S extends Shape>(input: unknown, shape: S): Fields<S> {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw usage(`the request is ${shown(input)}, not an object`, 'send a JSON object');
  }
  const given = new Map<string, unknown>(Object.entries(input));
  const names = Object.keys(shape);
  const unknown = [...given.keys()].find((key) => !names.includes(key));
  if (unknown !== undefined) {
    throw usage(
      `the request has a field ${shown(unknown)} that is not known`,
      `known are: ${names.join(', ') || 'none'}`,
    );
  }
  const fields = Object.entries(shape).map(([name, check]) => {
    try {
      return [name, check(given.get(name))];
    } catch (error) {
      if (!(error instanceof FieldFault)) throw error;
      throw usage(`${shown(name)} of the request is ${error.message}`, 'correct the request');
    }
  });
  return Object.fromEntries(fields) as Fields<S>;
}

function textOf(charsMax: number): Check<string> {
  return (value) => {
    const isRight = typeof value === 'string' && value !== '' && value.length <= charsMax && !value.includes('\0');
    return isRight ? value : fault(`a text of 1 to ${charsMax} characters`, value);
  };
}

function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value) => (value === undefined ? undefined : check(value));
}

function fault(allowed: string, value: unknown): never {
  throw new FieldFault(`${shown(value)}, not ${allowed}`);
}

/** Of what holds others only its kind: a request may be nested a thousand levels deep. */
function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  return JSON.stringify(value).slice(0, SHOWN_CHARS_MAX);
}

function usage(what: string, hint: string): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', `${what}; ${hint}`, {hint});
}
