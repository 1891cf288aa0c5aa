/**
 * The target is edited in the very moment in which the program is about to rename: it is held up at that system call.
 */
import {existsSync, readdirSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {expect, test} from 'vitest';
import {needsCommands} from '../needs.ts';
import {compareByRsync, makePair, syncOnce, trashOf} from '../sync/harness.ts';
import {makeTmpDir} from '../tmp.ts';

const HELD_UP = 'inject=renameat2:delay_enter=1500000:when=1'; // µs: time for somebody to write, also on a busy machine

/** What is staged, once there is something: the program has looked at the path and is about to rename. */
async function untilStaged(state: string): Promise<void> {
  for (const endMs = performance.now() + 20_000; performance.now() < endMs; await sleep(2)) {
    if (!existsSync(state)) continue;
    const folder = readdirSync(state, {recursive: true, encoding: 'utf8'}).find((path) =>
      /(^|\/)target\/staging$/.test(path),
    );
    const own = folder === undefined ? undefined : join(state, folder);
    if (own !== undefined && readdirSync(own).some((name) => /^b\d+-\d+$/.test(name))) {
      await sleep(200); // it has synced what it staged, and its journal
      return;
    }
  }
  throw new Error('nothing was staged');
}

needsCommands(
  'strace',
  'rsync',
)(test).each([
  {how: 'in place', edit: (path: string) => writeFileSync(path, 'edited in the last moment\n')},
  {
    how: 'by a rename',
    edit: (path: string) => {
      writeFileSync(`${path}.new`, 'edited in the last moment\n');
      renameSync(`${path}.new`, path);
    },
  },
])(
  'H10 a file of the target that is edited $how while the program stands before its rename is in the trash',
  async ({edit}) => {
    const pair = makePair();
    writeFileSync(join(pair.source, 'a'), 'first\n');
    expect((await syncOnce(pair)).exitCode).toBe(0);
    writeFileSync(join(pair.source, 'a'), 'second, of the source\n');
    const log = join(makeTmpDir(), 'calls');
    const wrapper = ['strace', '-f', '-qq', '-o', log, '-e', 'trace=renameat2', '-e', HELD_UP];
    const running = syncOnce(pair, [], {wrapper, timeoutMs: 90_000});
    await untilStaged(pair.state);
    edit(join(pair.target, 'a'));
    const run = await running;
    expect(run.exitCode, run.stderr).toBe(0);
    expect(readFileSync(log, 'utf8')).toContain('DELAYED');
    expect(compareByRsync(pair.source, pair.target)).toBe('');
    const kept = trashOf(run.result.folders.trash).map(({at}) => readFileSync(at, 'utf8'));
    expect(kept).toContain('edited in the last moment\n');
  },
  120_000,
);
