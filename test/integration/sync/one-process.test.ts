/**
 * One process for one pair and for one target; a holder that was killed holds nothing.
 */
import {mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {compareByRsync, makePair, startLive, syncOnce} from '../../sync/harness.ts';

test('H9 the same pair, or the same target from another source and state, is refused with 6 and names the holder', async () => {
  const pair = makePair();
  writeFileSync(join(pair.source, 'file'), 'one\n');
  const live = startLive(pair);
  await live.waitInSync();

  const again = await syncOnce(pair);
  expect(again.exitCode, again.stderr).toBe(6);
  expect(again.stderr).toContain(`pid ${live.pid}`);

  const other = {source: `${pair.source}.other`, target: `${pair.target}.link`, state: `${pair.state}.other`};
  mkdirSync(other.source);
  writeFileSync(join(other.source, 'other'), 'other\n');
  symlinkSync(pair.target, other.target); // another name, the same folder
  const second = await syncOnce(other);
  expect(second.exitCode, second.stderr).toBe(6);
  expect(second.stderr).toContain(`pid ${live.pid}`);
  expect(compareByRsync(pair.source, pair.target)).toBe('');

  // The lock of a killed holder is free at once.
  await live.stop('SIGKILL');
  const after = await syncOnce(pair);
  expect(after.exitCode, after.stderr).toBe(0);
});

test('H9 one source may be followed by two processes into two targets', async () => {
  const first = makePair();
  const second = {...first, target: `${first.target}.second`};
  writeFileSync(join(first.source, 'file'), 'one\n');
  const lives = [startLive(first), startLive(second)];
  await Promise.all(lives.map((live) => live.waitInSync()));
  writeFileSync(join(first.source, 'file'), 'two\n');
  for (const [index, {source, target}] of [first, second].entries())
    await lives[index]!.waitFor(() => compareByRsync(source, target) === '');
  for (const live of lives) expect((await live.stop()).exitCode).toBe(0);
});
