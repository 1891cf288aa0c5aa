/**
 * Durations, sizes, shares and counts as people write and read them. Not a general number parser: a unit is asked for
 * where its absence would be a guess.
 *
 * Invariant: what is parsed is finite, not negative and within bounds; anything else is a USAGE error that says how.
 */
import {TowlineError} from '../base/errors.ts';

const MS_OF = {ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000};
const DURATION_MS_MAX = 3_660 * MS_OF.d; // ten years: a longer one is a slip of the keyboard

const BYTES_OF: Record<string, number> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};
/** Smaller files are not changed in place: to write them whole costs less than to note what changes. */
const IN_PLACE_BYTES_MIN = 1 << 20;
const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/**
 * @param text `500ms`, `2s`, `1.5m`, `1h`, `7d`, or `0`
 * @returns milliseconds, whole
 * @throws TowlineError USAGE
 */
export function parseDuration(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)(ms|s|m|h|d)$/.exec(text.trim());
  const ms = match === null ? Number.NaN : Number(match[1]) * MS_OF[match[2] as keyof typeof MS_OF];
  if (text.trim() === '0') return 0;
  if (Number.isNaN(ms)) throw unitError('a duration', text, 'a number with ms, s, m, h or d, like 500ms, 2s or 7d');
  if (ms > DURATION_MS_MAX) throw unitError('a duration', text, 'at most 3660d');
  return Math.round(ms);
}

/**
 * @param text `1024` (bytes), `10kB` (1,000 each), `64MiB` (1,024 each)
 * @returns bytes, whole
 * @throws TowlineError USAGE; also for `64M`, which could mean either
 */
export function parseSize(text: string): number {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)\s?([a-z]*)$/i.exec(text.trim());
  const unit = (match?.[2] ?? '').toLowerCase();
  const factor = unit === '' ? 1 : BYTES_OF[unit];
  if (match === null || factor === undefined) {
    throw unitError('a size', text, 'bytes, or a number with kB, MB, GB, TB, KiB, MiB, GiB or TiB, like 64MiB');
  }
  const bytes = Number(match[1]) * factor;
  if (bytes > Number.MAX_SAFE_INTEGER) throw unitError('a size', text, 'less than 8 PiB');
  if (unit === '' && !Number.isInteger(bytes)) throw unitError('a size', text, 'whole bytes, or a unit like MiB');
  return Math.round(bytes);
}

/** What `parseInPlaceSize` takes, in words. */
export const inPlaceSizes = (): string => `a size from ${spellSize(IN_PLACE_BYTES_MIN)} on, like 4GiB`;

/** As parseSize: from which size on files are changed in place. @throws TowlineError USAGE */
export function parseInPlaceSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes < IN_PLACE_BYTES_MIN) throw unitError(inPlaceSizes(), text, `at least ${spellSize(IN_PLACE_BYTES_MIN)}`);
  return bytes;
}

/**
 * @param text `0%` to `100%`
 * @returns 0 to 1
 * @throws TowlineError USAGE
 */
export function parseShare(text: string): number {
  const match = /^(\d{1,3}(?:\.\d{1,6})?)%$/.exec(text.trim());
  const percent = match === null ? Number.NaN : Number(match[1]);
  if (!(percent <= 100)) throw unitError('a share', text, '0% to 100%');
  return percent / 100;
}

/**
 * @param text decimal digits, with `,` or `_` between groups of three as they are printed
 * @throws TowlineError USAGE
 */
export function parseCount(text: string): number {
  const plain = /^\d{1,3}([,_]\d{3})+$/.test(text.trim()) ? text.replace(/[,_]/g, '') : text;
  const count = /^\d{1,15}$/.test(plain.trim()) ? Number(plain) : Number.NaN;
  if (Number.isNaN(count)) throw unitError('a count', text, 'a whole number, like 500');
  return count;
}

function unitError(what: string, found: string, allowed: string): TowlineError<'USAGE'> {
  const shown = JSON.stringify(found.slice(0, 40));
  return new TowlineError('USAGE', `${shown} is not ${what}: write ${allowed}`, {hint: allowed});
}

/** `1,234,567`, in every locale. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `0 B`, `999 B`, `1.5 KiB`, `12.3 MiB`: three digits at most, one of them after the point. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1,023.95 would be shown as 1,024.0: the next unit is due a little earlier.
  while (value >= (unit === 0 ? 1_024 : 1_023.95) && unit < BINARY_UNITS.length - 1) {
    value /= 1_024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${BINARY_UNITS[unit]}`;
}

/** `3 ms`, `1.25 s`, `2 m 05 s`, `3 h 07 m`, `2 d 04 h`. */
export function formatDuration(ms: number): string {
  if (ms < 10) return `${ms < 0.05 ? 0 : ms.toFixed(1).replace(/\.0$/, '')} ms`;
  if (Math.round(ms) < MS_OF.s) return `${Math.round(ms)} ms`;
  const seconds = ms / MS_OF.s;
  if (seconds < 59.95) return `${seconds < 9.995 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  const two = (value: number): string => String(value).padStart(2, '0');
  const whole = Math.round(seconds);
  if (whole < 3_600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  const hours = Math.floor(minutes / 60);
  return `${formatCount(Math.floor(hours / 24))} d ${two(hours % 24)} h`;
}

/** A duration as it is written in a configuration, exactly: `90s`, `15m`, `7d`. @param ms whole */
export function spellDuration(ms: number): string {
  const units = Object.entries(MS_OF).toReversed();
  const [unit, factor] = units.find(([, each]) => ms % each === 0) ?? ['ms', 1];
  return ms === 0 ? '0' : `${ms / factor}${unit}`;
}

/** A size as it is written in a configuration, exactly: `10GiB`, `1000B`. @param bytes whole */
export function spellSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1_024 && value % 1_024 === 0 && unit < 4) {
    value /= 1_024;
    unit++;
  }
  return bytes === 0 ? '0' : `${value}${BINARY_UNITS[unit]}`;
}
