/**
 * Relative links inside a tree, and processes that mean no harm: they rename, link anew and read through links, as
 * deployments do. The harmless twin of the attacks with links.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync, readFileSync, readlinkSync, renameSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {needsCommands} from '../../needs.ts';
import {compareByRsync, makePair, startLive, syncOnce, type JsonEvent, type Pair} from '../../sync/harness.ts';
import {untilEqual} from '../../sync/live.ts';
import {makeTmpDir} from '../../tmp.ts';

const ROUNDS = 60;
const PASSING = ['changing', 'vanished', 'base-changed', 'parent-missing'];

/** A release a round: made, filled through a link, switched to; directories with links in them move about. */
const DEPLOY = `
set -e
cd "$1"
for round in $(seq 1 ${ROUNDS}); do
  mkdir -p releases/$round/shared
  ln -s ../../common/config releases/$round/config
  echo "version $round" > releases/$round/version
  ln -s releases/$round next
  echo "written through a link" > next/shared/note
  mv -T next current
  if [ $((round % 2)) = 1 ]; then mv dirs/a dirs/b; ln -sfn b dirs/link; else mv dirs/b dirs/a; ln -sfn a dirs/link; fi
  echo "round $round" >> dirs/link/log
  rm -rf releases/$((round - 5))
done
`;

function fill(root: string): void {
  mkdirSync(join(root, 'common'));
  writeFileSync(join(root, 'common/config'), 'of all releases');
  mkdirSync(join(root, 'dirs/a/below'), {recursive: true});
  mkdirSync(join(root, 'releases/0'), {recursive: true});
  writeFileSync(join(root, 'releases/0/version'), 'version 0');
  symlinkSync('releases/0', join(root, 'current'));
  symlinkSync('a', join(root, 'dirs/link'));
  symlinkSync('../../../common', join(root, 'dirs/a/below/up'));
  symlinkSync('.', join(root, 'self'));
  symlinkSync('..', join(root, 'dirs/above'));
}

/** The pair by other names: each path leads through a relative link. */
function throughLinks({source, target, state}: Pair): Pair {
  const folder = makeTmpDir();
  mkdirSync(join(folder, 'there'));
  symlinkSync('there', join(folder, 'here'));
  const linked = (name: string, to: string): string => {
    symlinkSync(to, join(folder, 'there', name));
    return join(folder, 'here', name);
  };
  return {source: linked('source', source), target: linked('target', target), state};
}

needsCommands('rsync')(describe)('links inside the tree', {timeout: 90_000}, () => {
  test(`I2 ${ROUNDS} deployments that switch a link, and directories with links that move: nothing is refused, all of it arrives`, async () => {
    const pair = makePair();
    fill(pair.source);
    mkdirSync(pair.target);
    const live = startLive(throughLinks(pair), ['--delete-limit', 'none']);
    await untilEqual(live, pair);
    // Somebody works in the target, by way of its links, all the time.
    const reader = spawn(
      'sh',
      [
        '-c',
        'cd current/.. && while cat common/config self/common/config dirs/above/common/config >/dev/null; do :; done',
      ],
      {
        cwd: pair.target,
        stdio: 'ignore',
      },
    );
    onTestFinished(() => void reader.kill('SIGKILL'));
    const deploy = spawn('sh', ['-c', DEPLOY, 'sh', pair.source], {stdio: ['ignore', 'ignore', 'inherit']});
    expect(await once(deploy, 'exit')).toEqual([0, null]);
    await untilEqual(live, pair, 40_000);
    expect(reader.exitCode).toBeNull(); // it ends with the first link that does not lead where it led
    reader.kill('SIGKILL');
    const inTarget = (path: string): string => readFileSync(join(pair.target, path), 'utf8');
    expect(readlinkSync(join(pair.target, 'current'))).toBe(`releases/${ROUNDS}`);
    expect([inTarget('current/version'), inTarget('current/config')]).toEqual([
      `version ${ROUNDS}\n`,
      'of all releases',
    ]);
    expect(inTarget('dirs/link/log').split('\n').length).toBe(ROUNDS + 1);
    expect(inTarget('dirs/link/below/up/config')).toBe('of all releases');
    const run = await live.stop();
    // What moves while it is carried may be told as such, and solved; nothing is refused.
    const isRefused = ({event, code}: JsonEvent): boolean => event === 'problem' && !PASSING.includes(String(code));
    expect(run.events.filter(isRefused)).toEqual([]);
    expect([run.exitCode, run.result.problems]).toEqual([0, []]);
  });

  test('I2 a directory becomes a link to where it was moved, and a directory again: single runs carry each, 0 bytes of content', async () => {
    const pair = makePair();
    fill(pair.source);
    const places = throughLinks(pair);
    mkdirSync(pair.target);
    const run = async (): Promise<unknown> => {
      const {exitCode, result} = await syncOnce(places, ['--delete-limit', 'none']);
      expect(compareByRsync(pair.source, pair.target)).toBe('');
      return [exitCode, result.problems, result.stats['contentBytes']];
    };
    expect(await run()).toMatchObject([0, [], 24]);
    renameSync(join(pair.source, 'common'), join(pair.source, 'dirs/common'));
    symlinkSync('dirs/common', join(pair.source, 'common'));
    expect(await run()).toEqual([0, [], 0]);
    renameSync(join(pair.source, 'common'), join(pair.source, 'was common'));
    renameSync(join(pair.source, 'dirs/common'), join(pair.source, 'common'));
    expect(await run()).toEqual([0, [], 0]);
  });
});
