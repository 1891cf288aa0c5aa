/** Changes that are hard to notice: while the process starts, more than its queue holds, without any event, under load. */
import {spawn} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setImmediate as turn} from 'node:timers/promises';
import {describe, expect, onTestFinished, test} from 'vitest';
import {command, makePair, startLive, type JsonEvent} from '../../sync/harness.ts';
import {untilEqual} from '../../sync/live.ts';
import {operate, randomFrom} from '../watch/operate.ts';
import {needsCommands} from '../../needs.ts';

const QUEUE = Number(readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8'));

/** Put before a program: it gets so many watches. The limit is of a user namespace of its own: nobody else runs into it. */
function limited(watches: number): string[] {
  const script = `echo ${watches} > /proc/sys/user/max_inotify_watches && exec "$0" "$@"`;
  return ['unshare', '-Ur', 'sh', '-c', script];
}

needsCommands('rsync')(describe)('what a live process notices', {timeout: 60_000}, () => {
  test.each(['inotify', 'chokidar'])(
    'D4 files made in new directories while it starts, with %s: none is lost',
    async (watch) => {
      const pair = makePair();
      for (let index = 0; index < 500; index++) writeFileSync(join(pair.source, `before${index}`), String(index));
      const live = startLive(pair, ['--watch', watch]);
      let count = 0;
      const timer = setInterval(() => {
        const dir = join(pair.source, `dir${count % 50}`, `sub${count % 7}`);
        mkdirSync(dir, {recursive: true});
        writeFileSync(join(dir, `file${count}`), String(count++));
      }, 1);
      onTestFinished(() => clearInterval(timer));
      // Until the first copy is done: then the watch was armed and the scan was made meanwhile.
      await live.waitForEvent(({event, path}) => event === 'applied' && path === 'before499');
      clearInterval(timer);
      await untilEqual(live, pair);
      expect((await live.stop()).exitCode).toBe(0);
      expect(count).toBeGreaterThan(50);
    },
  );

  test('D2 the event queue overflows while it is stopped: it says so, and what was lost is found', async () => {
    const pair = makePair();
    for (const name of ['ping', 'pong']) writeFileSync(join(pair.source, name), name);
    const live = startLive(pair);
    await untilEqual(live, pair);
    process.kill(live.pid, 'SIGSTOP');
    // Different events in turn, so that the kernel cannot merge them.
    // More than fit, by far: on a busy machine some are still read before the process stands.
    for (let count = 0; count <= QUEUE * 2; count++)
      utimesSync(join(pair.source, count % 2 === 0 ? 'ping' : 'pong'), count, count);
    mkdirSync(join(pair.source, 'lost/deep'), {recursive: true});
    for (let index = 0; index < 300; index++) writeFileSync(join(pair.source, `lost/deep/${index}`), String(index));
    process.kill(live.pid, 'SIGCONT');
    await live.waitForEvent(({event, message}) => event === 'notice' && /lost events/.test(String(message)));
    await untilEqual(live, pair);
    expect(existsSync(join(pair.target, 'lost/deep/299'))).toBe(true);
    expect((await live.stop()).exitCode).toBe(0);
  });

  test.each(['inotify', 'chokidar'])(
    'D7 500 random operations while others read the tree, with %s: equal once it is quiet',
    async (watch) => {
      const pair = makePair();
      const random = randomFrom(7);
      for (let count = 0; count < 100; count++) operate(pair.source, random, 'everything');
      const live = startLive(pair, ['--watch', watch, '--delete-limit', 'none']);
      await untilEqual(live, pair);
      const load = spawn(
        'sh',
        ['-c', `while :; do find '${pair.source}' -type f -exec cat {} + ; done >/dev/null 2>&1`],
        {stdio: 'ignore'},
      );
      onTestFinished(() => void load.kill('SIGKILL'));
      for (let count = 0; count < 500; count++) {
        operate(pair.source, random, 'everything');
        if (count % 5 === 0) await turn();
      }
      load.kill('SIGKILL');
      await untilEqual(live, pair, 40_000);
      expect(command('diff', '-r', '--no-dereference', pair.source, pair.target)).toBe('');
      expect((await live.stop()).exitCode).toBe(0);
    },
  );

  needsCommands('unshare')(test)(
    'D3 with 6 watches for 41 directories it says so, and what changes in any of them arrives within a scan; with fewer directories it watches them all again',
    async () => {
      const pair = makePair();
      const dirs = Array.from({length: 20}, (_, index) => `dir${index}`);
      for (const dir of dirs) mkdirSync(join(pair.source, dir, 'below'), {recursive: true});
      const live = startLive(pair, ['--delete-limit', 'none'], {wrapper: limited(6)});
      const isTold = ({event, level, message}: JsonEvent): boolean =>
        event === 'notice' && level === 'warn' && /35 directories are not watched .*every 10 s/.test(String(message));
      await live.waitForEvent(isTold);
      await live.waitInSync();
      for (const dir of dirs) {
        writeFileSync(join(pair.source, dir, 'below/file'), dir);
        mkdirSync(join(pair.source, dir, 'new/deep'), {recursive: true});
      }
      await untilEqual(live, pair, 40_000);
      for (const dir of dirs) expect(readFileSync(join(pair.target, dir, 'below/file'), 'utf8')).toBe(dir);

      const mark = live.events.length;
      for (const dir of dirs.slice(2)) rmSync(join(pair.source, dir), {recursive: true});
      for (const dir of dirs.slice(0, 2)) rmSync(join(pair.source, dir, 'new'), {recursive: true});
      const isHealed = ({event, message}: JsonEvent): boolean =>
        event === 'notice' && message === 'all directories are watched again';
      await live.waitForEventAfter(mark, isHealed, 40_000);
      await untilEqual(live, pair, 40_000);
      expect((await live.stop()).exitCode).toBe(0);
    },
  );

  needsCommands('unshare')(test)(
    'D3 without a single watch left it names the limit, and converges by scans',
    async () => {
      const pair = makePair();
      const live = startLive(pair, [], {wrapper: limited(0)});
      const isTold = ({event, message}: JsonEvent): boolean =>
        event === 'notice' && /fs\.inotify\.max_user_watches.*every 10 s/.test(String(message));
      await live.waitForEvent(isTold);
      await live.waitInSync();
      mkdirSync(join(pair.source, 'new/deep'), {recursive: true});
      writeFileSync(join(pair.source, 'new/deep/file'), 'found by a scan');
      await untilEqual(live, pair, 40_000);
      expect((await live.stop()).exitCode).toBe(0);
    },
  );

  needsCommands('python3')(test)('--rescan 1s finds a store through mmap, of which no watcher is told', async () => {
    const pair = makePair();
    writeFileSync(join(pair.source, 'mapped'), Buffer.alloc(8_192, 'old '));
    const live = startLive(pair, ['--rescan', '1s']);
    await untilEqual(live, pair);
    const store =
      'import mmap,sys; f=open(sys.argv[1],"r+b"); m=mmap.mmap(f.fileno(),0); f.close(); m[4096:4100]=b"new!"; m.flush()';
    const applied = live.events.length;
    // The descriptor is closed before the store, so that its close tells nothing.
    const writer = spawn('python3', ['-c', `${store}; sys.stdin.read()`, join(pair.source, 'mapped')], {
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    onTestFinished(() => void writer.kill('SIGKILL'));
    const isStored = (): boolean => readFileSync(join(pair.target, 'mapped')).includes('new!');
    await live.waitFor(isStored);
    expect(live.events.slice(applied).filter(({event}) => event === 'notice')).toEqual([]);
    await untilEqual(live, pair);
    expect((await live.stop()).exitCode).toBe(0);
  });
});
