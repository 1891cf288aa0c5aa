/**
 * Text for people inside messages: UTF-8, bounded, without anything that could steer a terminal or forge a log line.
 * Not for paths: those are byte strings and travel as they are.
 *
 * Invariant: what `cleanText` gives, `isCleanText` accepts; the writer cleans, the reader refuses.
 */

// Control characters, line and paragraph separators, marks that reorder what is shown, lone surrogates (not UTF-8).
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u;
const UNSAFE_ALL = new RegExp(UNSAFE.source, 'gu');
const ELLIPSIS = '…';
const ELLIPSIS_BYTES = 3;

export function isCleanText(text: string): boolean {
  return !UNSAFE.test(text);
}

/** UTF-8 bytes of a text, control characters escaped as `\xNN`, cut at a character so that it has at most `bytesMax`. */
export function cleanText(text: string, bytesMax: number): Buffer {
  // A character has at least one byte, so what lies behind `bytesMax` characters cannot be needed.
  const bounded = text.slice(0, bytesMax + 1).toWellFormed();
  const bytes = Buffer.from(bounded.replace(UNSAFE_ALL, escaped), 'utf8');
  if (bytes.length <= bytesMax) return bytes;
  let end = bytesMax - ELLIPSIS_BYTES;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(ELLIPSIS)]);
}

function escaped(char: string): string {
  const code = char.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
}
