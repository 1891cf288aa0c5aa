/** The connection of a live pair is cut, in a network namespace of its own. */
import {existsSync, mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {command, compareByRsync, makePair, startLive} from '../../sync/harness.ts';
import {stagedBytes, transfersSince, untilEqual} from '../../sync/live.ts';
import {needsCommands, needsRoot} from '../../needs.ts';

const isReconnecting = ({event, message}: {event: string; message?: unknown}): boolean =>
  event === 'notice' && /connecting again/.test(String(message));

/** A network namespace with nothing but a loopback device. */
function makeNamespace(): {inside: string[]; cut(): void; silence(): void; heal(): void} {
  const name = `towline-${process.pid}-${Math.trunc(performance.now())}`;
  const inside = ['ip', 'netns', 'exec', name];
  command('ip', 'netns', 'add', name);
  onTestFinished(() => void command('ip', 'netns', 'del', name));
  command('ip', '-n', name, 'link', 'set', 'lo', 'up');
  const rule = ['INPUT', '-p', 'tcp', '-j', 'DROP'];
  return {
    inside,
    cut: () => void command(...inside, 'ss', '-Ktn', 'state', 'established'),
    silence: () => void command(...inside, 'iptables', '-A', ...rule),
    heal: () => void command(...inside, 'iptables', '-D', ...rule),
  };
}

const needed = needsCommands('rsync', 'ip', 'ss', 'iptables');
needsRoot(needed(describe))('a connection that is lost', {timeout: 120_000}, () => {
  test('cut 20 times while files change: it connects again by itself, nothing equal is sent again', async () => {
    const pair = makePair();
    for (let index = 0; index < 200; index++) writeFileSync(join(pair.source, `file${index}`), `file ${index}`);
    const network = makeNamespace();
    const live = startLive(pair, [], {wrapper: network.inside});
    await untilEqual(live, pair);
    const start = live.events.length;
    for (let round = 0; round < 20; round++) {
      const mark = live.events.length;
      mkdirSync(join(pair.source, `dir${round}`));
      writeFileSync(join(pair.source, `dir${round}/before`), `round ${round}`);
      network.cut();
      writeFileSync(join(pair.source, `dir${round}/after`), `round ${round}`);
      await live.waitForEventAfter(mark, isReconnecting);
      await untilEqual(live, pair);
    }
    const notices = live.events.filter(isReconnecting).map(({time}) => Date.parse(String(time)));
    const proofs = live.events.filter(({state}) => state === 'in-sync').map(({time}) => Date.parse(String(time)));
    const slowest = Math.max(...notices.map((lostMs) => proofs.find((provenMs) => provenMs >= lostMs)! - lostMs));
    expect(slowest).toBeLessThan(5_000); // a delay that grew with every cut would be longer
    expect(transfersSince(live, start).filter((path) => !path.startsWith('dir'))).toEqual([]);
    expect((await live.stop()).exitCode).toBe(0);
  });

  test('cut in the middle of the first copy of 256 MB: it connects again and completes it', async () => {
    const pair = makePair();
    writeFileSync(join(pair.source, 'large'), Buffer.alloc(256_000_000, 'not the same 8 bytes all over'));
    const network = makeNamespace();
    const live = startLive(pair, [], {wrapper: network.inside});
    await live.waitFor(() => stagedBytes(pair) > 20_000_000);
    network.cut();
    await live.waitForEvent(isReconnecting);
    expect(existsSync(join(pair.target, 'large'))).toBe(false);
    await untilEqual(live, pair, 60_000);
    expect((await live.stop()).exitCode).toBe(0);
  });

  test('cut in the middle of a single run: it connects again and ends with 0', async () => {
    const pair = makePair();
    writeFileSync(join(pair.source, 'large'), Buffer.alloc(256_000_000, 'not the same 8 bytes all over'));
    const network = makeNamespace();
    const run = startLive(pair, ['--once'], {wrapper: network.inside});
    await run.waitFor(() => stagedBytes(pair) > 20_000_000);
    network.cut();
    expect((await run.end(60_000)).exitCode).toBe(0);
    expect(run.events.filter(isReconnecting)).toHaveLength(1);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
  });

  test('silent: noticed by itself, then it goes on; SIGTERM ends it with 0 while it is silent', async () => {
    const pair = makePair();
    writeFileSync(join(pair.source, 'file'), 'content');
    const network = makeNamespace();
    const live = startLive(pair, [], {wrapper: network.inside});
    await untilEqual(live, pair);
    network.silence();
    writeFileSync(join(pair.source, 'file'), 'changed');
    await live.waitForEvent(isReconnecting, 40_000);
    network.heal();
    await untilEqual(live, pair);
    network.silence();
    writeFileSync(join(pair.source, 'file'), 'changed again');
    expect((await live.stop('SIGTERM', 10_000)).exitCode).toBe(0);
  });
});
