/** What a run tells, as people and as programs get it, and how signals end it. */
import {describe, expect, test} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import type {SyncEvent} from '../../../src/daemon/sync-api.ts';
import {linesOf, outcomeOf, problemOf, runScripted, START_MS, type Script} from './scripted.ts';

type Run = NonNullable<Script['run']>;

const SYNC = ['sync', '/nonexistent/a', '/nonexistent/b'];
const ONCE = [...SYNC, '--once'];

const CHANGES: SyncEvent[] = [
  {kind: 'applied', op: 'make-dir', path: 'd', to: undefined, sizeBytes: 0, latencyMs: undefined},
  {kind: 'applied', op: 'put-file', path: 'd/gr\xc3\xbcn', to: undefined, sizeBytes: 1_536, latencyMs: 3.4},
  {kind: 'applied', op: 'replace', path: 'r', to: undefined, sizeBytes: 10, latencyMs: undefined},
  {kind: 'applied', op: 'put-symlink', path: 's', to: undefined, sizeBytes: 4, latencyMs: undefined},
  {kind: 'applied', op: 'link', path: 'h', to: 'r', sizeBytes: 0, latencyMs: undefined},
  {kind: 'applied', op: 'set-meta', path: 'm', to: undefined, sizeBytes: 0, latencyMs: undefined},
  {kind: 'applied', op: 'rename', path: 'from\n', to: 'to', sizeBytes: 0, latencyMs: undefined},
  {kind: 'applied', op: 'exchange', path: 'x', to: 'y', sizeBytes: 0, latencyMs: undefined},
  {kind: 'applied', op: 'delete', path: 'x\xff\x1b[2J', to: undefined, sizeBytes: 0, latencyMs: undefined},
];

describe('for people', () => {
  test('a run in sync is one line, with -v one more for each change', async () => {
    const plain = await runScripted(ONCE, {events: CHANGES});
    expect(plain).toMatchObject({exitCode: 0, stderr: ''});
    expect(linesOf(plain.stdout)).toEqual([
      expect.stringMatching(
        /^In sync as of \d\d:\d\d:\d\d [+-]\d\d:\d\d: 1,234 entries, 12\.3 MiB sent in 1\.25 s, digest 3f2a91bc7d01…$/,
      ),
    ]);
    const verbose = await runScripted([...ONCE, '-v'], {events: CHANGES});
    expect(linesOf(verbose.stdout).slice(0, -1)).toEqual([
      '+ d/',
      '+ d/grün (1.5 KiB)  3.4 ms',
      '~ r (10 B)',
      '+ s',
      '+ h = r',
      '~ m (attributes)',
      '> from\\n → to',
      '> x ⇄ y',
      '- x\\xff\\x1b[2J',
    ]);
  });

  test('-q prints nothing when all is well, and problems on stderr', async () => {
    expect(await runScripted([...ONCE, '-q'], {events: CHANGES})).toMatchObject({stdout: '', stderr: ''});
    const outcome = outcomeOf({exitCode: 1, isInSync: false, problems: [problemOf('p')], problemCount: 1});
    const ran = await runScripted([...ONCE, '-q'], {outcome});
    expect(ran).toMatchObject({exitCode: 1, stdout: '', stderr: '! p: permission denied (source)\n'});
  });

  test('of 57 problems the first 20 are listed with their reasons, and the rest is counted', async () => {
    const problems = Array.from({length: 57}, (_, index) => problemOf(`p${index}`, 'no\nrights \u001b[31m'));
    const status = {kind: 'problems', count: 57, asOfMs: START_MS} as const;
    const outcome = outcomeOf({exitCode: 1, isInSync: false, status, problems, problemCount: 57});
    const lines = linesOf((await runScripted(ONCE, {outcome})).stdout);
    expect(lines[0]).toMatch(/^Not in sync: 57 paths could not be synchronised/);
    expect(lines[1]).toBe('! p0: no rights \\x1b[31m (source)');
    expect(lines).toHaveLength(22);
    expect(lines.at(-1)).toBe('… and 37 more (--json lists up to 1,000)');
  });

  test('a dry run lists what it would do and counts it', async () => {
    const events = CHANGES.map((event) => ({...event, kind: 'planned'}) as SyncEvent);
    const ran = await runScripted([...SYNC, '-n'], {events});
    expect(linesOf(ran.stdout)).toHaveLength(CHANGES.length + 1);
    expect(linesOf(ran.stdout).at(-1)).toBe(
      'Dry run: 4 to create, 1 to replace, 1 to set attributes of, 2 to rename, 1 to delete (1.5 KiB of files); nothing was changed',
    );
    expect((await runScripted([...SYNC, '-n'])).stdout).toBe('Dry run: nothing to do\n');
  });

  test('a halted run says what was seen and what to type', async () => {
    const error = new TowlineError('HALTED', '51 of 100 entries would be deleted', {
      kind: 'delete-share',
      volume: 'v',
      count: 51,
      limit: 50,
    });
    const status = {kind: 'halted', reason: error.message} as const;
    const ran = await runScripted(ONCE, {outcome: outcomeOf({exitCode: 3, isInSync: false, status, error})});
    expect(ran).toMatchObject({exitCode: 3, stderr: 'Error: 51 of 100 entries would be deleted\n'});
    expect(ran.stdout).toContain('towline confirm /nonexistent/a /nonexistent/b\n');
    const elsewhere = await runScripted([...ONCE, '--state', '/nonexistent/s'], {
      outcome: outcomeOf({exitCode: 3, isInSync: false, status, error}),
    });
    expect(elsewhere.stdout).toContain('towline confirm /nonexistent/a /nonexistent/b --state /nonexistent/s\n');
  });

  test('files taken as equal unread are said, and are not called in sync', async () => {
    const ran = await runScripted([...ONCE, '--quick'], {outcome: outcomeOf({isInSync: false, assumedCount: 2_000})});
    expect(ran.stdout).toContain('Not proved: 2,000 files taken as equal by size and time, unread');
    expect(ran.stdout).not.toMatch(/^In sync/m);
  });

  test('--stats prints every counter with its unit', async () => {
    const lines = linesOf((await runScripted([...ONCE, '--stats'])).stdout);
    expect(lines).toHaveLength(1 + 14 + 5);
    expect(lines).toContain('  Content sent            12.3 MiB (12,897,485 B)');
    expect(lines).toContain('  Peak memory             90.0 MiB');
  });

  test('a live run says once that it is in sync, however many changes come', async () => {
    const inSync: SyncEvent = {kind: 'status', status: {kind: 'in-sync', asOfMs: START_MS, digest: 'd'}};
    const events: SyncEvent[] = [inSync, ...CHANGES, inSync, {kind: 'problem', problem: problemOf('p')}];
    const lines = linesOf((await runScripted(SYNC, {events: [...events, {kind: 'solved', path: 'p'}]})).stdout);
    expect(lines.slice(0, -1)).toEqual([
      expect.stringMatching(/^In sync as of .*, watching for changes \(Ctrl-C ends\)$/),
      '! p: permission denied (source)',
      '  p: solved',
    ]);
  });

  test('colours and the progress line are for terminals only, and the line is cleared at the end', async () => {
    const progress: SyncEvent = {
      kind: 'progress',
      phase: 'copy',
      entriesDone: 1,
      entriesTotal: 2,
      bytesDone: 2 ** 20,
      bytesTotal: 2 ** 21,
      path: 'p',
    };
    const script: Script = {events: [progress, ...CHANGES]};
    const piped = await runScripted([...ONCE, '-v'], script);
    expect(piped.stdout + piped.stderr).not.toContain('\u001b');
    const terminal = await runScripted([...ONCE, '-v'], {...script, isTerminal: true});
    expect(terminal.stderr).toMatch(/^\r\u001b\[2Kcopy {6}50% \[#{10}\.{10}\] {2}1\.0 MiB of 2\.0 MiB {2}p/);
    expect(terminal.stderr.endsWith('\r\u001b[2K')).toBe(true);
    expect(terminal.stdout).toContain('\u001b[31m- x\\xff\\x1b[2J\u001b[39m');
    const plain = await runScripted([...ONCE, '-v'], {...script, isTerminal: true, env: {NO_COLOR: '1'}});
    expect(plain.stdout).not.toContain('\u001b');
  });
});

test('with --json every event and the result are one object a line, times in UTC', async () => {
  const events: SyncEvent[] = [
    {kind: 'status', status: {kind: 'in-sync', asOfMs: START_MS, digest: 'abc'}},
    CHANGES[1]!,
    CHANGES[6]!,
    {kind: 'problem', problem: problemOf('x\xff')},
    {kind: 'notice', level: 'warn', message: 'overflow'},
  ];
  const ran = await runScripted([...ONCE, '--json'], {events});
  const lines = linesOf(ran.stdout).map((line) => JSON.parse(line) as Record<string, unknown>);
  const time = '2026-11-20T13:02:11.250Z';
  expect(lines.slice(0, 5)).toEqual([
    {event: 'status', time, state: 'in-sync', asOf: time, digest: 'abc'},
    {event: 'applied', time, op: 'put-file', path: 'd/grün', to: null, sizeBytes: 1_536, latencyMs: 3.4},
    {
      event: 'applied',
      time,
      op: 'rename',
      path: 'from\\n',
      pathBytes: Buffer.from('from\n').toString('base64'),
      to: 'to',
      sizeBytes: 0,
      latencyMs: null,
    },
    expect.objectContaining({event: 'problem', path: 'x\\xff', pathBytes: 'eP8=', firstSeen: time, nextTry: null}),
    {event: 'notice', time, level: 'warn', message: 'overflow'},
  ]);
  expect(lines.at(-1)).toMatchObject({event: 'result', exitCode: 0, inSync: true, problemCount: 0, errorCode: null});
});

describe('signals', () => {
  /** A run that ends when it is asked to, as the real one does. */
  const untilAborted =
    (send: string[]): Run =>
    (_, parts, signals) =>
      new Promise((resolve) => {
        parts.signal.addEventListener('abort', () => {
          const error = parts.signal.reason as TowlineError;
          const status = {kind: 'scanning', entries: 3} as const;
          resolve(outcomeOf({exitCode: 130, isInSync: false, status, error}));
        });
        for (const name of send) signals.emit(name);
      });

  test.each([
    ['SIGINT', ONCE, 130],
    ['SIGTERM', ONCE, 130],
    ['SIGINT', SYNC, 0],
    ['SIGTERM', SYNC, 0],
  ])('%s ends %j with %d and no error line', async (name, argv, exitCode) => {
    const ran = await runScripted(argv, {run: untilAborted([name])});
    expect(ran).toMatchObject({exitCode, stderr: '', endedNow: []});
  });

  test('a live run that ends in sync, or with problems, keeps its own exit code', async () => {
    const run =
      (exitCode: number): Run =>
      (_, parts, signals) => {
        signals.emit('SIGINT');
        expect(parts.signal.aborted).toBe(true);
        return Promise.resolve(outcomeOf({exitCode}));
      };
    expect((await runScripted(SYNC, {run: run(0)})).exitCode).toBe(0);
    expect((await runScripted(SYNC, {run: run(1)})).exitCode).toBe(1);
    expect((await runScripted(ONCE, {run: run(0)})).exitCode).toBe(0);
  });

  test('a second Ctrl-C ends at once with 130, a second SIGTERM does not', async () => {
    expect((await runScripted(ONCE, {run: untilAborted(['SIGINT', 'SIGINT'])})).endedNow).toEqual([130]);
    expect((await runScripted(ONCE, {run: untilAborted(['SIGTERM', 'SIGTERM'])})).endedNow).toEqual([]);
  });

  test('an error of the run itself keeps its code and its line', async () => {
    const run = (): Promise<never> =>
      Promise.reject(new TowlineError('LOCKED', 'held by process 7', {path: '/s', holder: '7'}));
    expect(await runScripted(ONCE, {run})).toMatchObject({exitCode: 6, stderr: 'Error: held by process 7\n'});
  });
});
