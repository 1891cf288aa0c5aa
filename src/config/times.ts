/**
 * Points in time as people write them: an age, a time with its offset, or local time.
 */
import {TowlineError} from '../base/errors.ts';
import {parseDuration} from './units.ts';

const ALLOWED = 'an age like 2h, a time like 2026-11-20T13:00:00Z, or local time like "2026-11-20 14:00" or 14:00';
const RFC3339 = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/i;
const LOCAL = /^(?:(\d{4})-(\d{2})-(\d{2})(?:[T ]|$))?(?:(\d{2}):(\d{2})(?::(\d{2}))?)?$/;

/**
 * @param text `2h` (ago), RFC 3339, or local time: a day, a day and a time, or a time of today
 * @param nowMs milliseconds since the epoch
 * @returns milliseconds since the epoch
 * @throws TowlineError USAGE
 */
export function parseTime(text: string, nowMs: number): number {
  const typed = text.trim();
  if (/^[\d.]+(ms|s|m|h|d)$/.test(typed)) return nowMs - parseDuration(typed);
  const ms = RFC3339.test(typed) ? Date.parse(typed.toUpperCase().replace(' ', 'T')) : localTimeOf(typed, nowMs);
  if (!Number.isFinite(ms)) {
    const message = `${JSON.stringify(text.slice(0, 40))} is not a time: write ${ALLOWED}`;
    throw new TowlineError('USAGE', message, {hint: ALLOWED});
  }
  return ms;
}

function localTimeOf(typed: string, nowMs: number): number {
  const match = LOCAL.exec(typed);
  if (match === null || typed === '') return Number.NaN;
  const today = new Date(nowMs);
  const [year, month, day] =
    match[1] === undefined
      ? [today.getFullYear(), today.getMonth() + 1, today.getDate()]
      : match.slice(1, 4).map(Number);
  const [hour, minute, second] = match.slice(4, 7).map((part) => Number(part ?? 0));
  const date = new Date(year!, month! - 1, day, hour, minute, second);
  // What is no day or hour would be counted on into the next one.
  const isReal = date.getMonth() === month! - 1 && date.getDate() === day && minute! < 60 && second! < 60;
  return isReal && hour! < 24 ? date.getTime() : Number.NaN;
}
