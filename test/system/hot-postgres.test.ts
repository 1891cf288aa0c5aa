/**
 * The data of a PostgreSQL server under load: the copy keeps advancing, and one that was made while the server was held
 * by hooks starts and is sound. TOWLINE_TEST_PGBENCH_SCALE sets the size (1 is 15 MB), TOWLINE_TEST_PGBENCH_S for how many
 * seconds there is load before the copy is asked for.
 */
import {spawn} from 'node:child_process';
import {chownSync, existsSync, mkdirSync, readdirSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {killAtEnd} from '../hosts/clean-up.ts';
import {LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command} from '../sync/harness.ts';
import {makeTmpDir} from '../tmp.ts';

const SCALE = process.env['TOWLINE_TEST_PGBENCH_SCALE'] ?? '1';
const LOAD_MS = Number(process.env['TOWLINE_TEST_PGBENCH_S'] ?? 3) * 1_000;
const SETTINGS = `listen_addresses = ''
unix_socket_directories = '/tmp'
max_wal_size = 64MB
shared_buffers = 16MB`;

const BASE = '/usr/lib/postgresql';
const postgres = (...words: string[]): string => command('runuser', '-u', 'postgres', '--', ...words);
const program = (name: string): string => join(BASE, readdirSync(BASE).toSorted().at(-1)!, 'bin', name);
const control = (verb: string, data: string): string[] => [
  ...['runuser', '-u', 'postgres', '--', program('pg_ctl'), verb, '-w', '-s', '-D', data],
  ...['-m', 'fast', '-l', `${data}.log`],
];
const STOP = '[ ! -e "$1/postmaster.pid" ] || runuser -u postgres -- "$0" stop -s -D "$1" -m immediate';

let lastPort = 54_000 + (process.pid % 1_000);

/** A server's data with the tables of pgbench, and the server at work on it. */
function startServer(folder: string): {data: string; port: string} {
  const data = join(folder, 'data');
  const port = String(++lastPort);
  mkdirSync(data, {recursive: true});
  for (const path of [folder, data])
    chownSync(path, Number(command('id', '-u', 'postgres')), Number(command('id', '-g', 'postgres')));
  postgres(program('initdb'), '-D', data, '-A', 'trust', '--no-locale', '-N', '--no-instructions');
  postgres('sh', '-c', 'echo "$1" >> "$0"', join(data, 'postgresql.conf'), `${SETTINGS}\nport = ${port}`);
  onTestFinished(() => void command('sh', '-c', STOP, program('pg_ctl'), data));
  command(...(control('start', data) as [string]));
  postgres(program('pgbench'), '-h', '/tmp', '-p', port, '-i', '-s', SCALE, '-q', 'postgres');
  return {data, port};
}

/** Inodes that a file of the copy has had: each whole replacement is a new one. */
async function untilReplaced(agent: TestAgent, path: string, count: number): Promise<void> {
  const seen = new Set<number>();
  await agent.until(
    `${path} was replaced ${count} times`,
    () => {
      const ino = statSync(path, {throwIfNoEntry: false})?.ino;
      if (ino !== undefined) seen.add(ino);
      return seen.size > count;
    },
    60_000,
  );
}

needsLoopMounts(needsHosts(needsCommands('pg_ctlcluster', 'runuser', 'mkfs.xfs')(describe)))(
  'a PostgreSQL server under load',
  {timeout: 240_000},
  () => {
    test.each([
      {kind: 'xfs', hot: 'wait'},
      {kind: 'ext4', hot: 'torn'},
    ] as const)(
      'on $kind with hot: $hot its copy keeps advancing; one that was made while hooks had it stopped starts and passes pg_amcheck',
      async ({kind, hot}) => {
        const {path} = makeLoopFilesystem(kind, 700 + 50 * Number(SCALE));
        const copies = makeTmpDir();
        command('chmod', '711', join(path, '..'));
        command('chown', 'postgres:', copies);
        const {data, port} = startServer(join(path, 'server'));
        const {source, target} = makeAgents({source: {listens: false}, target: {}});
        const [there, copy] = [join(copies, 'there'), join(copies, 'copy')];
        mkdirSync(there);
        await pair(source, target);
        // The copy of that moment is put aside before the server goes on, as a snapshot of the target's would be.
        const goOn = `cp -a ${there} ${copy} && ${control('start', data).join(' ')}`;
        const hooks = {quiesce: control('stop', data), resume: ['sh', '-c', goOn]};
        const volume = {at: data, send: ['target'], 'max-wait': '300ms', hot, hooks, ...LOOSE};
        source.configure({volumes: {data: volume}});
        target.configure({volumes: {data: {at: there, receive: 'source'}}});
        onTestFinished(() => stopAll(source, target));
        await startAll(source, target);

        const load = ['-h', '/tmp', '-p', port, '-c', '4', '-T', '600', '-n', 'postgres'];
        const bench = killAtEnd(
          spawn('runuser', ['-u', 'postgres', '--', program('pgbench'), ...load], {stdio: 'ignore'}),
        );
        const [wal = ''] = readdirSync(join(data, 'pg_wal'))
          .filter((name) => /^[0-9A-F]{24}$/.test(name))
          .toSorted()
          .slice(-1);
        await source.until('the first copy is there', () => existsSync(join(there, 'PG_VERSION')), 60_000);
        const endMs = performance.now() + LOAD_MS;
        await untilReplaced(source, join(there, 'pg_wal', wal), 2);
        await source.until('there was load for long enough', () => performance.now() > endMs, 2 * LOAD_MS + 10_000);
        expect(bench.exitCode).toBeNull();

        const {exitCode, stdout, stderr} = await source.command(['flush', 'data', '--quiesce', '--timeout', '2m']);
        const logs = [source, target].map((agent) => agent.log().slice(-2_000)).join('\n');
        expect([exitCode, stdout + stderr], logs).toEqual([0, expect.stringContaining('in sync')]);
        expect(existsSync(join(data, 'postmaster.pid'))).toBe(true);
        expect(existsSync(join(copy, 'postmaster.pid'))).toBe(false);
        command(...(control('stop', data) as [string]));
        await untilInSync(source, 'data', 60_000);

        onTestFinished(() => void command('sh', '-c', STOP, program('pg_ctl'), copy));
        command(...(control('start', copy) as [string]));
        const ask = (sql: string): string => postgres('psql', '-h', '/tmp', '-p', port, '-Atc', sql, 'postgres');
        expect(Number(ask('select count(*) from pgbench_history'))).toBeGreaterThan(0);
        expect(ask('select sum(abalance) from pgbench_accounts')).toBe(ask('select sum(delta) from pgbench_history'));
        const check = ['-h', '/tmp', '-p', port, '--install-missing', '--heapallindexed', 'postgres'];
        expect(postgres(program('pg_amcheck'), ...check)).toBe('');
      },
    );
  },
);
