/**
 * Names and paths as bytes. A byte string is a JavaScript string whose char codes are the bytes 0..255 (latin1):
 * it is compact, can be a Map key, compares bytewise, and loses nothing of a name that is not UTF-8.
 *
 * Not a file system path: it is always relative to a volume's root and is only walked one component at a time.
 * Invariant: a RelPath that passed `checkRelPath` has no empty, `.` or `..` component and no NUL.
 */

/** One path component, 1 to 255 bytes, as a byte string. */
export type Name = string;
/** Components joined by `/`, as a byte string; `''` is the root. */
export type RelPath = string;

export const NAME_BYTES_MAX = 255; // Linux NAME_MAX
export const PATH_DEPTH_MAX = 2_048; // deeper trees are a problem, not a crash; each level costs a descriptor while walking
export const PATH_BYTES_MAX = 65_535; // far above PATH_MAX: walks by descriptor know no such limit
export const ROOT: RelPath = '';

/** Why a name cannot be one path component, or undefined when it can. */
export function nameFault(name: string): string | undefined {
  if (name.length === 0) return 'is empty';
  if (name.length > NAME_BYTES_MAX) return `is longer than ${NAME_BYTES_MAX} bytes`;
  if (name === '.' || name === '..') return `is "${name}"`;
  for (let index = 0; index < name.length; index++) {
    const byte = name.charCodeAt(index);
    if (byte === 0) return 'holds a NUL byte';
    if (byte === 0x2f) return 'holds a slash';
    if (byte > 255) return 'is not a byte string';
  }
  return undefined;
}

/** Why a path from a peer or a person cannot be used, or undefined when it can. The root (`''`) is fine. */
export function relPathFault(path: string): string | undefined {
  if (path === ROOT) return undefined;
  if (path.length > PATH_BYTES_MAX) return `is longer than ${PATH_BYTES_MAX} bytes`;
  const names = path.split('/');
  if (names.length > PATH_DEPTH_MAX) return `is deeper than ${PATH_DEPTH_MAX} levels`;
  for (const name of names) {
    const fault = nameFault(name);
    if (fault !== undefined) return `has a component that ${fault}`;
  }
  return undefined;
}

export function splitPath(path: RelPath): Name[] {
  return path === ROOT ? [] : path.split('/');
}

export function joinPath(parent: RelPath, name: Name): RelPath {
  return parent === ROOT ? name : `${parent}/${name}`;
}

/** The parent of a path; the root's parent is the root. */
export function parentOf(path: RelPath): RelPath {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? ROOT : path.slice(0, slash);
}

export function nameOf(path: RelPath): Name {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Whether `path` is `ancestor` or lies below it. */
export function isWithin(path: RelPath, ancestor: RelPath): boolean {
  return ancestor === ROOT || path === ancestor || path.startsWith(`${ancestor}/`);
}

export function bytesOf(text: Name | RelPath): Buffer {
  return Buffer.from(text, 'latin1');
}

export function fromBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A byte string from a JavaScript string typed by a person (UTF-8). */
export function fromText(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

const strictUtf8 = new TextDecoder('utf-8', {fatal: true});
// Control characters, line and paragraph separators, and characters that reorder what a terminal shows.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\\]/gu;

/**
 * A name or path for people, logs and JSON: UTF-8 where it is valid, `\n`-like and `\xNN` escapes elsewhere.
 * Never holds a control character, so a hostile name cannot write to a terminal or forge a log line.
 */
export function showPath(path: Name | RelPath): string {
  if (path === ROOT) return '.';
  const bytes = bytesOf(path);
  try {
    return strictUtf8.decode(bytes).replace(UNSAFE, escapeChar);
  } catch {
    return [...bytes]
      .map((byte) => (byte >= 0x20 && byte < 0x7f && byte !== 0x5c ? String.fromCharCode(byte) : escapeByte(byte)))
      .join('');
  }
}

function escapeChar(char: string): string {
  if (char === '\\') return '\\\\';
  if (char === '\n') return '\\n';
  if (char === '\t') return '\\t';
  if (char === '\r') return '\\r';
  const code = char.charCodeAt(0);
  return code < 0x80 ? escapeByte(code) : `\\u${code.toString(16).padStart(4, '0')}`;
}

function escapeByte(byte: number): string {
  return byte === 0x5c ? '\\\\' : `\\x${byte.toString(16).padStart(2, '0')}`;
}
