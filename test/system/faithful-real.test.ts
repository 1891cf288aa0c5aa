/**
 * Real trees with rich metadata arrive as they were, judged by independent programs (test/judge): a Debian root, the
 * data of a PostgreSQL server, the layers of a Docker engine. Each is synchronised, worked on, and synchronised again.
 */
import {chownSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, onTestFinished, test} from 'vitest';
import {needsDocker, startDockerEngine} from '../hosts/engines.ts';
import {debianRoot, needsDebianRoot} from '../hosts/systemd.ts';
import {judge} from '../judge/judge.ts';
import {readByWalk} from '../judge/tools.ts';
import type {EntryFacts} from '../judge/facts.ts';
import {needsCommands, needsRoot} from '../needs.ts';
import {command, makePair, startLive, syncOnce, type Pair} from '../sync/harness.ts';
import {untilEqual} from '../sync/live.ts';
import {makeTmpDir} from '../tmp.ts';

const OPTIONS = ['--delete-limit', 'none', '--devices'];
const JUDGE = ['rsync', 'find', 'getfattr', 'getfacl', 'getcap', 'python3'];
const describeReal = needsRoot(needsCommands(...JUDGE)(describe));

async function expectFaithful(pair: Pair): Promise<void> {
  const {exitCode, result} = await syncOnce(pair, OPTIONS, {timeoutMs: 120_000});
  expect(result.problems).toEqual([]);
  expect(exitCode).toBe(0);
  expect(await judge(pair.source, pair.target)).toEqual([]);
}

/** How many entries of a tree have it: that the tree is as rich as the test says. */
async function countIn(root: string, fits: (facts: EntryFacts) => boolean): Promise<number> {
  const [tree] = await readByWalk(root);
  return [...tree!.values()].filter(fits).length;
}

const shell = (folder: string, script: string): string => command('bash', '-ceu', `cd "$0"\n${script}`, folder);

needsDebianRoot(describeReal)('a Debian root', {timeout: 180_000}, () => {
  test('G1 G2 G4 G5 G7 setuid programs, capabilities, ACLs, hard links and devices arrive', async () => {
    const pair = makePair();
    command('cp', '-a', '--reflink=auto', `${debianRoot()}/.`, pair.source);
    shell(
      pair.source,
      `setcap cap_net_raw+ep usr/bin/nice; setcap cap_net_bind_service,cap_chown=eip usr/bin/env
       mkdir -p var/log/journal; setfacl -R -nm g:adm:rx,d:g:adm:rx var/log/journal; setfacl -m u:65534:rw,m::r etc/fstab
       ln usr/bin/perl usr/bin/perl-again; ln -P bin usr/bin-again
       setfattr -n user.comment -v 'of the machine' etc/hostname; setfattr -h -n trusted.origin -v x bin
       mkfifo -m 620 run/initctl; mknod -m 660 dev/loop7 b 7 7; chown 0:6 dev/loop7
       chown 4000000000:4000000000 var/mail; touch -d 1969-12-31T23:59:59.5Z etc/debian_version`,
    );
    expect(await countIn(pair.source, ({mode, type}) => type === 'f' && /^[4-7]...$/.test(mode!))).toBeGreaterThan(4);
    expect(await countIn(pair.source, ({device}) => device !== undefined)).toBeGreaterThan(5);
    await expectFaithful(pair);
    shell(
      pair.source,
      `chroot . useradd -m somebody; chroot . su somebody -c 'mkfifo ~/pipe; ln ~/pipe ~/pipe-2; umask 77; echo x > ~/x'
       setcap -r usr/bin/nice; setfacl -b etc/fstab; setfacl -k var/log/journal; touch var/log/journal/later
       chmod u-s usr/bin/su; rm dev/loop7 usr/bin/perl-again; mv usr/share/common-licenses usr/share/licences
       rm -r usr/share/doc; cp -a usr/lib/systemd usr/lib/systemd-again; setfattr -x user.comment etc/hostname`,
    );
    await expectFaithful(pair);
  });
});

const postgres = (...words: string[]): string => command('runuser', '-u', 'postgres', '--', ...words);

/** Where the programs of the server are: in a folder with the number of its version. */
function postgresPrograms(): string {
  const base = '/usr/lib/postgresql';
  return join(base, readdirSync(base).toSorted().at(-1)!, 'bin');
}

needsCommands('pg_ctlcluster', 'runuser')(describeReal)('the data of a PostgreSQL server', {timeout: 180_000}, () => {
  let programs: string;
  const server = (verb: string, data: string): string =>
    postgres(join(programs, 'pg_ctl'), verb, '-w', '-s', '-D', data, '-m', 'fast', '-l', join(data, 'log'));
  const bench = (data: string, ...words: string[]): string =>
    postgres(join(programs, 'pgbench'), '-h', data, ...words, 'postgres');

  beforeAll(() => {
    programs = postgresPrograms();
  });

  test('G1 G2 G3 stopped, at work and stopped again: equal, and a server starts on the copy', async () => {
    const base = makeTmpDir();
    command('chmod', '755', base);
    const pair = makePair('test', base);
    chownSync(pair.source, Number(command('id', '-u', 'postgres')), Number(command('id', '-g', 'postgres')));
    postgres(join(programs, 'initdb'), '-D', pair.source, '-A', 'trust', '--no-locale', '-N', '--no-instructions');
    const settings = "listen_addresses = ''\nunix_socket_directories = '.'\nmax_wal_size = 64MB\nshared_buffers = 16MB";
    postgres('sh', '-c', 'echo "$1" >> "$0"', join(pair.source, 'postgresql.conf'), settings);
    onTestFinished(() => {
      for (const data of [pair.source, pair.target]) command('sh', '-c', STOP, programs, data);
    });
    server('start', pair.source);
    bench(pair.source, '-i', '-s', '1', '-q');
    server('stop', pair.source);
    await expectFaithful(pair);

    const live = startLive(pair, OPTIONS);
    await live.waitInSync();
    server('start', pair.source);
    bench(pair.source, '-t', '300', '-c', '4', '-n');
    const rows = postgres(
      'psql',
      '-h',
      pair.source,
      '-Atc',
      'select count(*), sum(delta) from pgbench_history',
      'postgres',
    );
    server('stop', pair.source);
    await untilEqual(live, pair, 60_000);
    expect((await live.stop()).exitCode).toBe(0);
    expect(await judge(pair.source, pair.target)).toEqual([]);

    server('start', pair.target);
    expect(
      postgres('psql', '-h', pair.target, '-Atc', 'select count(*), sum(delta) from pgbench_history', 'postgres'),
    ).toBe(rows);
  });
});

const STOP = '[ ! -e "$1/postmaster.pid" ] || runuser -u postgres -- "$0/pg_ctl" stop -s -D "$1" -m immediate';

needsDocker(describeReal)('the layers of a Docker engine', {timeout: 180_000}, () => {
  test('G4 G7 whiteouts and opaque directories arrive, before and after more containers have run', async () => {
    const engine = await startDockerEngine({folder: makeTmpDir('file')});
    const {docker} = engine;
    engine.run('first');
    docker(
      'exec',
      'first',
      'sh',
      '-c',
      'mkdir -p /data/old/deep; echo 1 > /data/old/deep/a; echo 2 > /data/b; echo 3 > /c',
    );
    docker('commit', 'first', 'second');
    docker('run', '-d', '--name', 'third', '--network=none', '--stop-signal=KILL', 'second', 'sleep', '100000');
    docker(
      'exec',
      'third',
      'sh',
      '-c',
      'rm -r /data/old /c; mkdir /data/old; echo 4 > /data/old/new; mv /data/b /data/d',
    );
    await engine.stop();
    const pair = {...makePair(), source: join(engine.folder, 'data/overlay2')};
    expect(await countIn(pair.source, ({device}) => device === '0:0')).toBeGreaterThan(1);
    expect(await countIn(pair.source, (facts) => facts['xattr trusted.overlay.opaque'] === '79')).toBeGreaterThan(0);
    await expectFaithful(pair);
    await engine.start();
    docker('rm', '-f', 'first');
    engine.run('fourth', '-e', 'x=y');
    docker('exec', 'fourth', 'sh', '-c', 'rm /bin/cat; touch /bin/new; mkdir /empty');
    await engine.stop();
    await expectFaithful(pair);
    await engine.start(); // for what ends it
  });
});
