/**
 * One gitignore glob, compiled to a matcher on byte strings. Knows nothing of rules, negation or directories. Pure.
 *
 * A wildcard that fails goes back to the last star only, never further, so a match costs at most the product of both
 * lengths: patterns also come from peers. Source: gitignore(5), and git's wildmatch.c for what that page leaves open.
 * Two differences: `**` that is not a whole component is one star also after literal text (git lets `foo**` + `/bar`
 * match `foobar`), and an escaped slash is a slash.
 */
import {NAME_BYTES_MAX} from '../model/path.ts';

// Tokens: 0..255 one literal byte, then the wildcards, then from FIRST_SET on an index into the sets.
const ANY = 256;
const STAR = 257;
const STARS = 258; // two or more; a whole component of it crosses directories
const FIRST_SET = 259;

const SLASH = 0x2f;
const BACKSLASH = 0x5c;
const byteOf = (char: string): number => char.charCodeAt(0);

/** Members of a bracket expression by byte: 1 matches. */
type ByteSet = Uint8Array;

interface Tokens {
  codes: number[];
  sets: ByteSet[];
}

/** One component of a pattern. */
type Component =
  | {kind: 'literal'; text: string}
  /** `*text`, the most frequent wildcard. */
  | {kind: 'suffix'; text: string}
  | {kind: 'wild'; codes: Uint16Array; sets: readonly ByteSet[]; sizeBytesMin: number}
  /** Any number of components. */
  | {kind: 'deep'};

export interface Glob {
  /** The only text that matches, where the glob holds no wildcard. */
  readonly literal: string | undefined;
  /** @param from where the matched part of `text` starts */
  matches(text: string, from: number): boolean;
}

/** A glob for one component, or undefined when nothing can match it (an open bracket, a lone last backslash). */
export function compileNameGlob(pattern: string): Glob | undefined {
  const tokens = tokenise(pattern);
  if (tokens === undefined || tokens.codes.length === 0) return undefined;
  const component = componentOf(tokens.codes, tokens.sets, true);
  if (component === undefined) return undefined;
  return {
    literal: component.kind === 'literal' ? component.text : undefined,
    matches: (text, from) => matchesComponent(component, text, from, text.length),
  };
}

/** A glob for a whole path, without its leading slash, or undefined when nothing can match it. */
export function compilePathGlob(pattern: string): Glob | undefined {
  const tokens = tokenise(pattern);
  if (tokens === undefined) return undefined;
  const components: Component[] = [];
  for (const codes of splitCodes(tokens.codes)) {
    const component = codes.length === 0 ? undefined : componentOf(codes, tokens.sets, false);
    if (component === undefined) return undefined;
    components.push(component);
  }
  // A last `**` means everything inside: at least one component.
  if (components.at(-1)?.kind === 'deep') components.splice(-1, 0, componentOf([STAR], [], false)!);
  const isLiteral = components.every((component) => component.kind === 'literal');
  return {
    literal: isLiteral ? components.map((component) => (component as {text: string}).text).join('/') : undefined,
    matches: (text, from) => matchesPath(components, text, from),
  };
}

function splitCodes(codes: readonly number[]): number[][] {
  const parts: number[][] = [[]];
  for (const code of codes) {
    if (code === SLASH) parts.push([]);
    else parts.at(-1)!.push(code);
  }
  return parts;
}

function componentOf(codes: readonly number[], sets: readonly ByteSet[], isName: boolean): Component | undefined {
  if (!isName && codes.length === 1 && codes[0] === STARS) return {kind: 'deep'};
  const simple = codes.map((code) => (code === STARS ? STAR : code));
  const sizeBytesMin = simple.filter((code) => code !== STAR).length;
  if (sizeBytesMin > NAME_BYTES_MAX) return undefined; // no name is that long; keeps the cost of a match small
  if (simple.every((code) => code < ANY)) return {kind: 'literal', text: String.fromCharCode(...simple)};
  if (simple[0] === STAR && simple.slice(1).every((code) => code < ANY)) {
    return {kind: 'suffix', text: String.fromCharCode(...simple.slice(1))};
  }
  return {kind: 'wild', codes: Uint16Array.from(simple), sets, sizeBytesMin};
}

function tokenise(pattern: string): Tokens | undefined {
  const tokens: Tokens = {codes: [], sets: []};
  for (let at = 0; at < pattern.length; at++) {
    const code = pattern.charCodeAt(at);
    if (code === BACKSLASH) {
      if (++at === pattern.length) return undefined;
      tokens.codes.push(pattern.charCodeAt(at));
    } else if (code === byteOf('?')) {
      tokens.codes.push(ANY);
    } else if (code === byteOf('*')) {
      const last = tokens.codes.at(-1);
      if (last === STAR || last === STARS) tokens.codes[tokens.codes.length - 1] = STARS;
      else tokens.codes.push(STAR);
    } else if (code === byteOf('[')) {
      const bracket = readBracket(pattern, at + 1);
      if (bracket === undefined) return undefined;
      tokens.codes.push(FIRST_SET + tokens.sets.length);
      tokens.sets.push(bracket.set);
      at = bracket.end;
    } else {
      tokens.codes.push(code);
    }
  }
  return tokens;
}

/** Not an object: a pattern may ask for `[:constructor:]`. */
const CLASSES: ReadonlyMap<string, RegExp> = new Map([
  ['alnum', /[0-9A-Za-z]/],
  ['alpha', /[A-Za-z]/],
  ['blank', /[ \t]/],
  ['cntrl', /[\x00-\x1f\x7f]/],
  ['digit', /[0-9]/],
  ['graph', /[\x21-\x7e]/],
  ['lower', /[a-z]/],
  ['print', /[\x20-\x7e]/],
  ['punct', /[!-/:-@[-`{-~]/],
  ['space', /[ \t\n\v\f\r]/],
  ['upper', /[A-Z]/],
  ['xdigit', /[0-9A-Fa-f]/],
]);

/**
 * The set of a bracket expression.
 * @param start index after `[`
 * @returns `end` is the index of the closing bracket; undefined when there is none, or for an unknown class
 */
function readBracket(pattern: string, start: number): {set: ByteSet; end: number} | undefined {
  const set = new Uint8Array(256);
  const isNegated = pattern[start] === '!' || pattern[start] === '^';
  const first = isNegated ? start + 1 : start;
  let previous: number | undefined; // the possible start of a range
  for (let at = first; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === ']' && at > first) return {set: isNegated ? set.map((bit) => 1 - bit) : set, end: at};
    if (char === '[' && pattern[at + 1] === ':') {
      const close = pattern.indexOf(']', at + 2);
      if (close < 0) return undefined;
      if (close > at + 2 && pattern[close - 1] === ':') {
        const members = CLASSES.get(pattern.slice(at + 2, close - 1));
        if (members === undefined) return undefined;
        for (let byte = 0; byte < 256; byte++) if (members.test(String.fromCharCode(byte))) set[byte] = 1;
        at = close;
        previous = undefined;
        continue;
      }
    }
    const next = pattern[at + 1];
    if (char === '-' && previous !== undefined && next !== undefined && next !== ']') {
      at += next === '\\' ? 2 : 1;
      if (at >= pattern.length) return undefined;
      set.fill(1, previous, Math.max(previous, pattern.charCodeAt(at) + 1));
      previous = undefined;
      continue;
    }
    if (char === '\\') at++;
    if (at >= pattern.length) return undefined;
    previous = pattern.charCodeAt(at);
    set[previous] = 1;
  }
  return undefined;
}

function matchesComponent(component: Component, text: string, from: number, to: number): boolean {
  switch (component.kind) {
    case 'literal':
      return to - from === component.text.length && text.startsWith(component.text, from);
    case 'suffix':
      return to - from >= component.text.length && text.endsWith(component.text, to);
    case 'wild':
      return to - from >= component.sizeBytesMin && matchesWild(component, text, from, to);
    case 'deep':
      return true;
  }
}

function matchesWild(
  {codes, sets}: {codes: Uint16Array; sets: readonly ByteSet[]},
  text: string,
  from: number,
  to: number,
): boolean {
  let code = 0;
  let at = from;
  let starCode = -1;
  let starAt = 0;
  while (at < to) {
    const token = code < codes.length ? codes[code]! : -1;
    if (token === STAR) {
      starCode = code++;
      starAt = at;
    } else if (token >= 0 && matchesByte(token, sets, text.charCodeAt(at))) {
      code++;
      at++;
    } else if (starCode >= 0) {
      code = starCode + 1;
      at = ++starAt;
    } else {
      return false;
    }
  }
  while (codes[code] === STAR) code++;
  return code === codes.length;
}

function matchesByte(token: number, sets: readonly ByteSet[], byte: number): boolean {
  if (token < ANY) return token === byte;
  return token === ANY || sets[token - FIRST_SET]![byte] === 1;
}

/** The same walk as `matchesWild`, one level up: components instead of bytes, `**` instead of `*`. */
function matchesPath(components: readonly Component[], text: string, from: number): boolean {
  let index = 0;
  let at = from;
  let deepIndex = -1;
  let deepAt = 0;
  while (at <= text.length) {
    const component = components[index];
    const to = endOfComponent(text, at);
    if (component?.kind === 'deep') {
      deepIndex = index++;
      deepAt = at;
    } else if (component !== undefined && matchesComponent(component, text, at, to)) {
      index++;
      at = to + 1;
    } else if (deepIndex >= 0) {
      index = deepIndex + 1;
      at = deepAt = endOfComponent(text, deepAt) + 1;
    } else {
      return false;
    }
  }
  while (components[index]?.kind === 'deep') index++;
  return index === components.length;
}

function endOfComponent(text: string, from: number): number {
  const slash = text.indexOf('/', from);
  return slash < 0 ? text.length : slash;
}
