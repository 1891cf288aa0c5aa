/**
 * Ignore rules in gitignore syntax, compiled once to a matcher on byte strings. Pure.
 *
 * It judges one path by itself: whoever walks the tree does not ask about what lies below an ignored directory.
 * Invariant: the last rule that matches decides, in time bounded by the rules' and the path's lengths.
 * Source: gitignore(5).
 */
import {TowlineError} from '../base/errors.ts';
import {fromText, type RelPath, ROOT} from '../model/path.ts';
import {compileNameGlob, compilePathGlob, type Glob} from './glob.ts';

export const IGNORE_PATTERN_BYTES_MAX = 4_096; // Linux PATH_MAX: a longer pattern matches nothing a program can open
export const IGNORE_PATTERNS_MAX = 10_000;
export const IGNORE_BYTES_MAX = 64 * 1_024; // all patterns together: they travel in one message

/** One rule, as it was written. */
export interface IgnoreRule {
  /** Index in the list that was compiled. */
  readonly index: number;
  readonly pattern: string;
  /** `!`: what matches is not ignored. */
  readonly isNegated: boolean;
  /** Last `/`: directories only. */
  readonly isDirOnly: boolean;
}

export interface IgnoreMatcher {
  /** Whether no rule can match anything. */
  readonly isEmpty: boolean;
  /**
   * Whether `path` is ignored, given that none of its ancestors is. The root never is.
   * @param path byte string relative to the root
   */
  isIgnored(path: RelPath, isDir: boolean): boolean;
  /** The rule that decides, or undefined when none matches. */
  ruleFor(path: RelPath, isDir: boolean): IgnoreRule | undefined;
}

/** A rule whose glob needs a look at each path; `isName` matches the last component only. */
interface WildRule {
  rule: IgnoreRule;
  glob: Glob;
  isName: boolean;
}

/**
 * @param patterns gitignore lines in order, as typed (UTF-8); comments and empty lines match nothing
 * @throws TowlineError USAGE for too many or too long patterns, and for one that holds a line break or NUL
 */
export function compileIgnore(patterns: readonly string[]): IgnoreMatcher {
  checkLimits(patterns);
  const matcher = new RuleMatcher();
  patterns.forEach((pattern, index) => matcher.add(pattern, index));
  return matcher;
}

function checkLimits(patterns: readonly string[]): void {
  const fault = (what: string, hint: string): never => {
    throw new TowlineError('USAGE', `ignore patterns: ${what}; ${hint}`, {hint});
  };
  if (patterns.length > IGNORE_PATTERNS_MAX) fault(`${patterns.length} of them`, `at most ${IGNORE_PATTERNS_MAX}`);
  let sizeBytes = 0;
  patterns.forEach((pattern, index) => {
    const patternBytes = Buffer.byteLength(pattern);
    sizeBytes += patternBytes;
    const at = `number ${index + 1}`;
    if (patternBytes > IGNORE_PATTERN_BYTES_MAX)
      fault(`${at} is too long`, `at most ${IGNORE_PATTERN_BYTES_MAX} bytes`);
    if (/[\n\0]/.test(pattern)) fault(`${at} holds a line break or NUL`, 'write one pattern each');
  });
  if (sizeBytes > IGNORE_BYTES_MAX) fault(`${sizeBytes} bytes together`, `at most ${IGNORE_BYTES_MAX}`);
}

class RuleMatcher implements IgnoreMatcher {
  /** Rules without wildcards are found by their text, so that a thousand of them cost as much as one. */
  readonly #byName = new Map<string, IgnoreRule[]>();
  readonly #byPath = new Map<string, IgnoreRule[]>();
  readonly #wild: WildRule[] = [];

  get isEmpty(): boolean {
    return this.#byName.size === 0 && this.#byPath.size === 0 && this.#wild.length === 0;
  }

  isIgnored(path: RelPath, isDir: boolean): boolean {
    const rule = this.ruleFor(path, isDir);
    return rule !== undefined && !rule.isNegated;
  }

  ruleFor(path: RelPath, isDir: boolean): IgnoreRule | undefined {
    if (path === ROOT) return undefined;
    const nameFrom = path.lastIndexOf('/') + 1;
    let last = lastFor(this.#byPath.get(path), isDir);
    if (this.#byName.size > 0) last = later(last, lastFor(this.#byName.get(path.slice(nameFrom)), isDir));
    for (let index = this.#wild.length - 1; index >= 0; index--) {
      const {rule, glob, isName} = this.#wild[index]!;
      if (last !== undefined && rule.index < last.index) break;
      if (rule.isDirOnly && !isDir) continue;
      if (glob.matches(path, isName ? nameFrom : 0)) return rule;
    }
    return last;
  }

  add(pattern: string, index: number): void {
    let glob = withoutTrailingSpaces(fromText(pattern));
    if (glob === '' || glob.startsWith('#')) return;
    const isNegated = glob.startsWith('!');
    if (isNegated) glob = glob.slice(1);
    const isDirOnly = glob.endsWith('/');
    if (isDirOnly) glob = glob.slice(0, -1);
    const rule: IgnoreRule = Object.freeze({index, pattern, isNegated, isDirOnly});
    if (glob.includes('/')) this.#addCompiled(rule, compilePathGlob(glob.replace(/^\//, '')), false);
    else this.#addCompiled(rule, compileNameGlob(glob), true);
  }

  #addCompiled(rule: IgnoreRule, glob: Glob | undefined, isName: boolean): void {
    if (glob === undefined) return; // git, too, takes a broken pattern as one that matches nothing
    if (glob.literal === undefined) {
      this.#wild.push({rule, glob, isName});
      return;
    }
    const byText = isName ? this.#byName : this.#byPath;
    const rules = byText.get(glob.literal);
    if (rules === undefined) byText.set(glob.literal, [rule]);
    else rules.push(rule);
  }
}

function lastFor(rules: readonly IgnoreRule[] | undefined, isDir: boolean): IgnoreRule | undefined {
  return rules?.findLast((rule) => isDir || !rule.isDirOnly);
}

function later(a: IgnoreRule | undefined, b: IgnoreRule | undefined): IgnoreRule | undefined {
  return a === undefined || (b !== undefined && b.index > a.index) ? b : a;
}

/** Spaces at the end do not count unless a backslash stands before them. */
function withoutTrailingSpaces(pattern: string): string {
  let end = 0; // after the last character that counts
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === '\\') at++;
    else if (pattern[at] === ' ') continue;
    end = Math.min(at + 1, pattern.length);
  }
  return pattern.slice(0, end);
}
