/**
 * The settings of one `towline sync`: from what was typed to one frozen, validated value with all defaults filled in.
 *
 * Not the command line itself (`cli` knows commander), and no look at SRC and DST: they are checked where they are used.
 * Invariant: a value that leaves this file is within its bounds.
 */
import {readFileSync, statSync} from 'node:fs';
import {homedir} from 'node:os';
import {isAbsolute, join, resolve} from 'node:path';
import {messageOf, TowlineError} from '../base/errors.ts';
import {XATTR_CLASSES, type XattrClass} from '../model/attrs.ts';
import {idRangesFault, idsOfRanges, parseIdRange} from '../model/ids.ts';
import {compileIgnore} from '../reconcile/ignore.ts';
import type {Accept} from './agent-config.ts';
import {formatDuration, parseCount, parseDuration, parseInPlaceSize, parseShare} from './units.ts';

/** When the deletes of one burst need the operator: beyond `count` entries, or beyond `share` of the tree. */
export interface DeleteLimit {
  count: number;
  /** 0 to 1; 1 is never exceeded. */
  share: number;
  /** `share` is judged from this many deletes on, and so many of a live burst go at once. */
  shareFrom: number;
}

/** Frozen and validated. */
export interface SyncOptions {
  /** Absolute host path, as typed (not resolved through links). */
  source: string;
  target: string;
  isOnce: boolean;
  isDryRun: boolean;
  isQuick: boolean;
  /** gitignore patterns in order. */
  ignore: readonly string[];
  special: 'keep' | 'skip';
  /** As a view has them (model/ids.ts). */
  ids: readonly string[];
  /** What the target takes; both ends are this operator's. */
  accept: Accept;
  deleteLimit: DeleteLimit;
  durability: 'batch' | 'none';
  settleMs: number;
  maxWaitMs: number;
  /** A file that never settles, where the filesystem makes no clones: waited for, or read as it is. */
  hot: 'wait' | 'torn';
  /** Files of this size or more are changed in place on the target, in bytes. */
  inPlaceAbove: number | undefined;
  watch: 'auto' | 'inotify' | 'chokidar';
  /** `--state`; undefined for `defaultStateFolder`. */
  stateFolder: string | undefined;
  /** The whole tree is looked at so often, whatever the watcher said. */
  rescanMs: number;
}

/** What was typed, as text; in the order it was typed where order counts. */
export interface SyncFlags {
  once?: boolean | undefined;
  dryRun?: boolean | undefined;
  quick?: boolean | undefined;
  ignoreRules?: readonly IgnoreFlag[] | undefined;
  special?: string | undefined;
  ids?: readonly string[] | undefined;
  devices?: boolean | undefined;
  xattrs?: string | undefined;
  deleteLimit?: string | undefined;
  durability?: string | undefined;
  settle?: string | undefined;
  maxWait?: string | undefined;
  hot?: string | undefined;
  inPlaceAbove?: string | undefined;
  rescan?: string | undefined;
  watch?: string | undefined;
  state?: string | undefined;
}

export type IgnoreFlag = {kind: 'pattern'; pattern: string} | {kind: 'file'; path: string};

export const DELETE_LIMIT: DeleteLimit = {count: 10_000, share: 0.5, shareFrom: 20};
const UNLIMITED_COUNT = Number.MAX_SAFE_INTEGER; // not Infinity: it must survive JSON

const DURABILITIES = ['batch', 'none'] as const;
const SPECIALS = ['keep', 'skip'] as const;
const HOTS = ['wait', 'torn'] as const;
const WATCHES = ['auto', 'inotify', 'chokidar'] as const;

const SETTLE_MS = 50; // longer than the pause between the writes of one save
const SETTLE_MS_MAX = 3_600_000;
const MAX_WAIT_MS = 2_000;
const MAX_WAIT_MS_MAX = 86_400_000;
const RESCAN_MS = 3_600_000;
const RESCAN_MS_MIN = 1_000; // a scan must have time to end
const RESCAN_MS_MAX = 86_400_000;
const IGNORE_FILE_BYTES_MAX = 1 << 20;

/**
 * @param source absolute host path
 * @throws TowlineError USAGE naming the option, what was found and what is allowed
 */
export function makeSyncOptions(source: string, target: string, flags: SyncFlags): SyncOptions {
  const isDryRun = flags.dryRun === true;
  const settleMs = boundedDuration('--settle', flags.settle, SETTLE_MS, SETTLE_MS_MAX);
  const maxWaitMs = boundedDuration('--max-wait', flags.maxWait, Math.max(MAX_WAIT_MS, settleMs), MAX_WAIT_MS_MAX);
  if (maxWaitMs < settleMs) throw usage('--max-wait', 'is shorter than --settle', 'a time not below --settle');
  const rescanMs = boundedDuration('--rescan', flags.rescan, RESCAN_MS, RESCAN_MS_MAX);
  if (rescanMs < RESCAN_MS_MIN)
    throw usage('--rescan', `got ${flags.rescan}`, `at least ${formatDuration(RESCAN_MS_MIN)}`);
  const ignore = readIgnoreRules(flags.ignoreRules ?? []);
  within('--ignore', () => compileIgnore(ignore)); // its errors belong to the command line, not to the run
  return Object.freeze({
    source,
    target,
    isOnce: flags.once === true || isDryRun, // a dry run has nothing to wait for
    isDryRun,
    isQuick: flags.quick === true,
    ignore: Object.freeze(ignore),
    special: parseSpecial(flags.special),
    ids: Object.freeze(parseIds(flags.ids)),
    accept: Object.freeze({
      setuid: true,
      devices: flags.devices === true,
      owners: 'any',
      xattrs: parseXattrs(flags.xattrs),
    } satisfies Accept),
    deleteLimit: Object.freeze(flags.deleteLimit === undefined ? DELETE_LIMIT : parseDeleteLimit(flags.deleteLimit)),
    durability: oneOf('--durability', flags.durability, DURABILITIES),
    settleMs,
    maxWaitMs,
    hot: oneOf('--hot', flags.hot, HOTS),
    inPlaceAbove:
      flags.inPlaceAbove === undefined
        ? undefined
        : within('--in-place-above', () => parseInPlaceSize(flags.inPlaceAbove!)),
    watch: oneOf('--watch', flags.watch, WATCHES),
    stateFolder: stateFolderOf(flags.state),
    rescanMs,
  });
}

/**
 * @param text `500`, `30%`, `500,30%` (either is enough to halt) or `none`; what is not named is not limited
 * @throws TowlineError USAGE
 */
export function parseDeleteLimit(text: string): DeleteLimit {
  if (text === 'none') return {count: UNLIMITED_COUNT, share: 1, shareFrom: DELETE_LIMIT.shareFrom};
  const parts = text.split(',').map((part) => part.trim());
  const shares = parts.filter((part) => part.endsWith('%'));
  const counts = parts.filter((part) => !part.endsWith('%'));
  if (shares.length > 1 || counts.length > 1 || !parts.every((part) => /^[\d.]+%?$/.test(part))) {
    throw usage('--delete-limit', `got ${JSON.stringify(text)}`, '500, 30%, "500,30%" or none');
  }
  const count = counts[0] === undefined ? UNLIMITED_COUNT : within('--delete-limit', () => parseCount(counts[0]!));
  const share = shares[0] === undefined ? 1 : within('--delete-limit', () => parseShare(shares[0]!));
  // A limit below the usual allowance means what it says.
  return {count, share, shareFrom: share === 0 ? 0 : Math.min(DELETE_LIMIT.shareFrom, count)};
}

/** @throws TowlineError USAGE */
export function parseSpecial(text: string | undefined): 'keep' | 'skip' {
  return oneOf('--special', text, SPECIALS);
}

/** @param texts `0-999:100000`, any number of them. @throws TowlineError USAGE */
export function parseIds(texts: readonly string[] = []): string[] {
  const parsed = texts.map((text) => {
    const colon = text.lastIndexOf(':');
    const [range, target] = [text.slice(0, colon), text.slice(colon + 1)];
    return parseIdRange(range, target);
  });
  const ranges = parsed.filter((range) => typeof range !== 'string');
  const fault = parsed.find((range) => typeof range === 'string') ?? idRangesFault(ranges);
  if (fault !== undefined) throw usage('--ids', `got ${fault}`, 'ranges like 0-999:100000 and single ids like 33:1033');
  return idsOfRanges(ranges);
}

function parseXattrs(text: string | undefined): XattrClass[] {
  if (text === undefined) return [...XATTR_CLASSES];
  const words = text.split(',').map((word) => word.trim());
  const unknown = words.find((word) => word !== '' && !XATTR_CLASSES.some((each) => each === word));
  if (unknown !== undefined)
    throw usage('--xattrs', `got ${JSON.stringify(unknown)}`, `${XATTR_CLASSES.join(', ')}, or nothing for none`);
  return XATTR_CLASSES.filter((each) => words.includes(each));
}

/** Where state is kept without `--state`. Source: XDG Base Directory Specification 0.8 (a relative value is ignored). */
export function defaultStateFolder(env: Record<string, string | undefined> = process.env): string {
  const base = env['XDG_STATE_HOME'];
  return join(
    base !== undefined && isAbsolute(base) ? base : join(env['HOME'] || homedir(), '.local/state'),
    'towline',
  );
}

/** @throws TowlineError USAGE for an empty path */
export function stateFolderOf(state: string | undefined): string | undefined {
  if (state === undefined) return undefined;
  if (state === '' || state.includes('\0')) throw usage('--state', 'is not a path', 'a folder');
  return resolve(state);
}

function boundedDuration(option: string, text: string | undefined, fallbackMs: number, msMax: number): number {
  if (text === undefined) return fallbackMs;
  const ms = within(option, () => parseDuration(text));
  if (ms > msMax) throw usage(option, `got ${text}`, `at most ${formatDuration(msMax)}`);
  return ms;
}

/** The first of `allowed` is the default. */
function oneOf<T extends string>(option: string, found: string | undefined, allowed: readonly [T, ...T[]]): T {
  if (found === undefined) return allowed[0];
  const known = allowed.find((value) => value === found);
  if (known === undefined) throw usage(option, `got ${JSON.stringify(found)}`, allowed.join(', '));
  return known;
}

function readIgnoreRules(rules: readonly IgnoreFlag[]): string[] {
  return rules.flatMap((rule) => (rule.kind === 'pattern' ? [rule.pattern] : readIgnoreFile(rule.path)));
}

/** Lines of a file in gitignore syntax, without comments and empty ones: patterns travel to the target. */
function readIgnoreFile(path: string): string[] {
  let bytes: Buffer;
  try {
    if (statSync(path).size > IGNORE_FILE_BYTES_MAX) throw new Error('it is larger than 1 MiB');
    bytes = readFileSync(path);
  } catch (error) {
    throw usage('--ignore-from', `cannot read ${JSON.stringify(path)}: ${messageOf(error)}`, 'a readable file', error);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', {fatal: true}).decode(bytes); // drops a byte order mark, as git does
  } catch (error) {
    throw usage('--ignore-from', `${JSON.stringify(path)} is not UTF-8`, 'a file in UTF-8', error);
  }
  return text
    .split('\n')
    .map((line) => line.replace(/\r$/, ''))
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
}

function within<T>(option: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof TowlineError && error.code === 'USAGE') {
      throw new TowlineError('USAGE', `${option}: ${error.message}`, error.details as {hint: string}, {cause: error});
    }
    throw error;
  }
}

function usage(option: string, found: string, allowed: string, cause?: unknown): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', `${option}: ${found}; allowed is ${allowed}`, {hint: allowed}, {cause});
}
