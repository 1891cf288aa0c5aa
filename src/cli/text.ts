/**
 * Text that is safe and fits on a terminal. Names go through `showPath`; this is for sentences that others wrote.
 */

// Control characters, line and paragraph separators, and characters that reorder what a terminal shows.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** A sentence on one line, with every control character escaped. */
export function oneLine(text: string): string {
  return text
    .trim()
    .replace(/\s*\n\s*/g, ' ')
    .replace(UNSAFE, (char) => {
      const code = char.charCodeAt(0);
      return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
    });
}

const NARROW = '…→←⇄'; // of those that may be wide

/** Cells that a text takes on a terminal; scripts that may be wide count as wide, so a line never wraps. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += char.codePointAt(0)! >= 0x1100 && !NARROW.includes(char) ? 2 : 1;
  return width;
}

export const PATH_CELLS_MAX = 300; // a path of a line of its own; 64 KiB of it would fill screens

/** The text cut at its front to a width: of a path, the end tells more. */
export function cutFront(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  if (width < 2) return '';
  const chars = Array.from(text);
  let left = width - 1;
  let from = chars.length;
  while (from > 0 && widthOf(chars[from - 1]!) <= left) left -= widthOf(chars[--from]!);
  return `…${chars.slice(from).join('')}`;
}

/** The text cut at its end to a width: of a name, the start tells more. */
export function cutEnd(text: string, width: number): string {
  return widthOf(text) <= width ? text : `${takeWidth(text, width - 1)}…`;
}

/** `1 path`, `2 paths`. */
export function plural(count: number, shown: string, noun: string): string {
  return `${shown} ${noun}${count === 1 ? '' : 's'}`;
}

/** `14:02:11 +01:00` in the process's time zone. */
export function localTime(ms: number): string {
  const date = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone}`;
}

/** `14:02:11 +01:00` of the same day, `2026-11-19 14:02 +01:00` of another one. */
export function localMoment(ms: number, nowMs: number): string {
  return localDay(ms) === localDay(nowMs) ? localTime(ms) : localDateTime(ms).replace(/:\d\d /, ' ');
}

/** `2026-11-19 14:02:11 +01:00` */
export function localDateTime(ms: number): string {
  return `${localDay(ms)} ${localTime(ms)}`;
}

function localDay(ms: number): string {
  const date = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The text in lines of at most `width` cells, broken at spaces where there are any. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (let word of text.split(' ')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line);
      line = '';
    }
    while (widthOf(word) > width) {
      const piece = takeWidth(word, width);
      lines.push(piece);
      word = word.slice(piece.length);
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  if (line !== '') lines.push(line);
  return lines;
}

/** As much of the front as fits, one character at least. */
function takeWidth(text: string, width: number): string {
  let taken = '';
  for (const char of text) {
    if (taken !== '' && widthOf(taken) + widthOf(char) > width) break;
    taken += char;
  }
  return taken;
}

/** The text filled up with spaces to a width. */
export function padCells(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}
