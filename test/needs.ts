/**
 * What a test needs of the machine. Where it is missing the test is skipped, and the end of the run prints why; with
 * `CI` set a skipped test is a failure (test/summary-reporter.ts), so there test/setup-debian.sh installs everything.
 *
 * Wrap `test` or `describe` once, and combine by nesting; `.each` and the other forms work as usual:
 *
 *     const rootTest = needsRoot(test);
 *     rootTest('keeps the owner of a file', () => {…});
 *     needsLoopMounts(needsCommands('mkfs.xfs', 'rsync')(describe))('on XFS', () => {…});
 *
 * Everything inside a skipped `describe`, its hooks too, does not run.
 */
import {spawnSync} from 'node:child_process';
import {accessSync, constants, mkdirSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import type {describe, test} from 'vitest';
import {makeRunFolder, removeTree} from './run-folders.ts';

declare module 'vitest' {
  interface TaskMeta {
    /** Why a test was skipped, for the summary at the end of the run. */
    skipReason?: string;
  }
}

type Declare = typeof test | typeof describe;
type AnyFunction = (...args: unknown[]) => unknown;

/** Skips unless the tests run as root. */
export function needsRoot<T extends Declare>(declare: T): T {
  return process.getuid?.() === 0 ? declare : skipping(declare, 'needs root');
}

/** Skips unless all of these programs are found in PATH. */
export function needsCommands(...commands: string[]): <T extends Declare>(declare: T) => T {
  const missing = commands.filter((command) => !isCommand(command));
  return (declare) =>
    missing.length === 0
      ? declare
      : skipping(declare, `needs ${missing.join(', ')} (test/setup-debian.sh installs it)`);
}

/** Skips unless an ext4 image can be made and mounted over a loop device; tried once per test file. */
export function needsLoopMounts<T extends Declare>(declare: T): T {
  loopMountFault ??= findLoopMountFault();
  return loopMountFault === '' ? declare : skipping(declare, `needs loop mounts: ${loopMountFault}`);
}

let loopMountFault: string | undefined;

function findLoopMountFault(): string {
  if (process.getuid?.() !== 0) return 'not root';
  const folder = makeRunFolder();
  const image = join(folder, 'image');
  const mountPoint = join(folder, 'mnt');
  mkdirSync(mountPoint);
  writeFileSync(image, '');
  truncateSync(image, 2 * 1024 * 1024);
  const fault =
    faultOf('mkfs.ext4', '-q', '-F', image) ||
    faultOf('mount', '-t', 'ext4', '-o', 'loop', image, mountPoint) ||
    faultOf('umount', mountPoint);
  removeTree(folder);
  return fault;
}

function faultOf(command: string, ...args: string[]): string {
  const result = spawnSync(command, args, {encoding: 'utf8'});
  if (result.status === 0) return '';
  return result.error?.message ?? `${command}: ${result.stderr.trim().split('\n')[0] ?? 'failed'}`;
}

function isCommand(command: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The same function with the same forms, but what it declares is skipped for a reason that a person can read. */
function skipping<T extends Declare>(declare: T, reason: string): T {
  return skippingFunction(declare as unknown as AnyFunction, reason) as unknown as T;
}

function skippingFunction(declare: AnyFunction, reason: string): AnyFunction {
  return new Proxy(declare, {
    apply: (target, self, args) => Reflect.apply(target, self, skipped(args, reason)),
    get: (target, key, receiver) => {
      const value: unknown = Reflect.get(target, key, receiver);
      if (typeof value !== 'function') return value;
      if (key !== 'each' && key !== 'for') return skippingFunction(value as AnyFunction, reason);
      return (...cases: unknown[]) => skippingFunction(Reflect.apply(value, target, cases) as AnyFunction, reason);
    },
  });
}

/** The arguments (title, options?, body, timeout?) with options that skip. */
function skipped(args: unknown[], reason: string): unknown[] {
  const options = args.find((arg, index) => index > 0 && typeof arg === 'object' && arg !== null) ?? {};
  const body = args.find((arg, index) => index > 0 && typeof arg === 'function');
  return [args[0], {...options, skip: true, meta: {skipReason: reason}}, body];
}
