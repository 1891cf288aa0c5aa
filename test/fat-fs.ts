/**
 * A filesystem that holds as little as vfat does, mounted: test/fat.py says what. Real to whoever uses it; needed where
 * the kernel has no vfat, and where two names that differ in case alone must be one.
 *
 * Needs root, python3 and /dev/fuse: declare the tests with `needsFat`. Invariant: it is unmounted after the test.
 */
import {spawn, spawnSync} from 'node:child_process';
import {once} from 'node:events';
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {type describe, onTestFinished, type test} from 'vitest';
import {needsCommands, needsRoot} from './needs.ts';
import {makeTmpDir} from './tmp.ts';

/** Skips where it cannot be mounted. */
export function needsFat<T extends typeof test | typeof describe>(declare: T): T {
  const commands = existsSync('/dev/fuse') ? ['python3'] : ['python3', '/dev/fuse'];
  return needsRoot(needsCommands(...commands)(declare));
}

/**
 * @param mode of everything in it, in octal: what vfat's option `umask` leaves
 * @returns where it is mounted; empty, owned by root
 */
export async function makeFat(mode = '700'): Promise<string> {
  const path = makeTmpDir();
  const server = spawn('python3', [join(import.meta.dirname, 'fat.py'), path, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(async () => {
    if (spawnSync('umount', [path]).status !== 0) spawnSync('umount', ['-l', path]);
    server.kill('SIGKILL');
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
  });
  const lines = createInterface({input: server.stdout})[Symbol.asyncIterator]();
  const {value} = (await lines.next()) as {value: unknown};
  if (value !== 'mounted') throw new Error(`fat.py said ${String(value)}`);
  return path;
}
