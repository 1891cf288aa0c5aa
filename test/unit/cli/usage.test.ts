/** What is typed wrong gets one sentence on stderr and exit code 2; nothing of a run is started. */
import {writeFileSync, mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {makeTmpDir} from '../../tmp.ts';
import {linesOf, runScripted} from './scripted.ts';

const WRONG: [typed: string, sentence: RegExp][] = [
  ['', /^no command given/],
  ['syn a b', /^unknown command 'syn'; did you mean sync\?/],
  ['agnt', /^unknown command 'agnt'; did you mean agent\?/],
  ['agent pgdata', /^VOLUME goes with --once only/],
  ['agent --timeout 5m', /^--timeout goes with --once only/],
  ['agent --once --timeout soon', /^"soon" is not a duration/],
  ['pending', /^missing required argument 'VOLUME'/],
  ['flush --timeout 5', /^"5" is not a duration/],
  ['confirm pgdata --yes many', /is not a count/],
  ['log pgdata ../etc', /^"..\/etc" has a component that is ".."/],
  ['log --since yesterday', /^"yesterday" is not a time/],
  ['trash', /^no command given/],
  ['trash lst a', /^unknown command 'lst'; did you mean list\?/],
  ['init here', /^too many arguments for 'init'/],
  ['init --listen 7420', /^"7420" is not an address of a host: write HOST:PORT; a port alone is written :7420/],
  ['init --name a/b', /^"a\/b" is no name of a peer/],
  ['join', /^missing required argument 'CODE'/],
  ['invite --address ::1', /^"::1" is not an address of a host: write brackets/],
  ['peer', /^no command given/],
  ['peer lst', /^unknown command 'lst'; did you mean list\?/],
  ['peer remove', /^missing required argument 'NAME'/],
  ['config chek', /^unknown command 'chek'; did you mean check\?/],
  ['config check --config /nonexistent/t.yaml', /^1 error in the configuration: \/nonexistent\/t.yaml: there is no/],
  ['sync /a db-2:pgdata --quick', /^--quick does not go with a peer's volume/],
  ['help syn', /^unknown command 'syn'/],
  ['sync --onec a b', /^unknown option '--onec'; did you mean --once\? \(towline sync --help\)$/],
  ['sync a', /^missing required argument 'DST'/],
  ['sync a b c', /^too many arguments for 'sync'; expected 2/],
  ['sync a b --settle', /^option '--settle <TIME>' argument missing/],
  ['sync a b --settle 5', /^--settle: "5" is not a duration/],
  ['sync a b --watch x', /^option '--watch <HOW>' argument 'x' is invalid; allowed choices are auto, inotify/],
  ['sync a b --delete-limit x', /^--delete-limit: got "x"/],
  ['sync docker:pg b', /^SRC not yet: docker: addresses/],
  ['sync a podman-container:x:/y', /^DST not yet: podman-container:/],
  ['sync path: b', /^SRC is empty/],
  ['sync both:a b', /^two-way links and conflicts come in a later version/],
  ['sync a b --conflicts=keep', /^two-way links and conflicts come in a later version/],
  ['confirm a b --yes many', /is not a count/],
];

test.each(WRONG)('"towline %s" is one line: %s', async (typed, sentence) => {
  const ran = await runScripted(typed.split(' ').filter(Boolean));
  expect(ran).toMatchObject({exitCode: 2, stdout: '', runs: []});
  const lines = linesOf(ran.stderr);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^Error: /);
  expect(lines[0]!.slice('Error: '.length)).toMatch(sentence);
});

test('with --json the error and the result are also the last lines of stdout', async () => {
  const ran = await runScripted(['--json', 'sync', 'docker:x', 'b']);
  const lines = linesOf(ran.stdout).map((line) => JSON.parse(line) as object);
  expect(lines).toMatchObject([
    {event: 'error', code: 'USAGE'},
    {event: 'result', exitCode: 2, inSync: false},
  ]);
  expect(linesOf(ran.stderr)).toHaveLength(1);
});

describe('help and version', () => {
  test.each([
    ['--help'],
    ['help'],
    ['help sync'],
    ['sync --help'],
    ['confirm -h'],
    ['agent --help'],
    ['help status'],
    ['pending --help'],
    ['flush -h'],
    ['pause -h'],
    ['resume -h'],
    ['rescan -h'],
    ['forget -h'],
    ['log -h'],
    ['trash -h'],
    ['trash restore -h'],
    ['init -h'],
    ['id -h'],
    ['invite -h'],
    ['help join'],
    ['help peer'],
    ['peer rotate -h'],
    ['config show -h'],
  ])('"towline %s" shows examples on stdout and exits with 0', async (typed) => {
    const ran = await runScripted(typed.split(' '));
    expect(ran).toMatchObject({exitCode: 0, stderr: '', runs: []});
    expect(ran.stdout).toContain('Examples:\n  towline ');
  });

  test('--version prints the number of package.json', async () => {
    expect((await runScripted(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

test('every option of sync reaches the run, ignore rules in the order they were typed', async () => {
  const dir = makeTmpDir();
  writeFileSync(join(dir, 'rules'), '*.log\n');
  mkdirSync(join(dir, 'src'));
  const typed = `--once -n --quick --ignore *.tmp --ignore-from ${dir}/rules --ignore !a.log --delete-limit 5,10%
    --durability none --special skip --devices --xattrs acl,user
    --ids 0-9:100 --ids 33:1033 --settle 1s --max-wait 3s --hot torn --rescan 5m --watch chokidar --state ${dir}/state --no-progress --stats -vq`;
  const ran = await runScripted(['sync', `path:${dir}/src`, `${dir}/dst/.`, ...typed.split(/\s+/)]);
  expect(ran.stderr).toBe('');
  expect(ran.runs).toEqual([
    {
      source: join(dir, 'src'),
      target: join(dir, 'dst'),
      isOnce: true,
      isDryRun: true,
      isQuick: true,
      ignore: ['*.tmp', '*.log', '!a.log'],
      special: 'skip',
      ids: ['0-9:100', '33-33:1033'],
      accept: {setuid: true, devices: true, owners: 'any', xattrs: ['user', 'acl']},
      deleteLimit: {count: 5, share: 0.1, shareFrom: 5},
      durability: 'none',
      settleMs: 1_000,
      maxWaitMs: 3_000,
      hot: 'torn',
      watch: 'chokidar',
      stateFolder: join(dir, 'state'),
      rescanMs: 300_000,
    },
  ]);
});

test('common options count before and after the command', async () => {
  const before = await runScripted(['--json', '--state', '/s/1', 'sync', '/a1', '/b1', '--once']);
  const after = await runScripted(['sync', '/a1', '/b1', '--once', '--json', '--state', '/s/1']);
  expect(before.stdout).toBe(after.stdout);
  expect(before.runs).toEqual(after.runs);
  expect(before.runs[0]!.stateFolder).toBe('/s/1');
});

test('a bug is exit code 70 with what to report, and a stack only with -v', async () => {
  const failing = {loadFails: new TypeError('x is\nnot a function')};
  const quiet = await runScripted(['sync', '/a1', '/b1'], failing);
  expect(quiet.exitCode).toBe(70);
  expect(linesOf(quiet.stderr)).toHaveLength(1);
  expect(quiet.stderr).toMatch(
    /^Error: internal error: x is not a function; this is a bug: please report .* towline \d/,
  );
  const verbose = await runScripted(['sync', '/a1', '/b1', '-v'], failing);
  expect(verbose.stderr).toContain('at ');
});
