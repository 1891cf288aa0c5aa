/**
 * The agent as systemd runs it: when it counts as started, what a reload does, what brings it back, how it ends, and
 * that it sees volumes which come and go under it. A second agent beside it, on the same host, receives.
 */
import {spawnSync} from 'node:child_process';
import {mkdirSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {loadOrCreateIdentity} from '../../src/transport/identity-file.ts';
import {bootHost, needsSystemdHost, type SystemdHost} from '../hosts/systemd.ts';
import {needsCommands} from '../needs.ts';
import {makeTmpDir} from '../tmp.ts';

const PORT = 7420;
const LISTENS = `grep -qi ':${PORT.toString(16).padStart(4, '0')} .* 0A ' /proc/net/tcp`;
const CONFIG = '/etc/towline/towline.yaml';
const SEEN_MS = 60_000; // a root that is missing is looked for again and again, less and less often
const agentTest = needsSystemdHost(needsCommands('mkfs.ext4')(test));

interface TwoAgents {
  host: SystemdHost;
  must: (command: string) => Promise<string>;
  /** Writes the sender's configuration with these volumes: name to address. */
  configure: (volumes: Record<string, string>) => void;
}

/** @param volumes that the second agent is ready to receive, each in /srv/copy/NAME */
async function bootTwo(volumes: string[], dropIn = ''): Promise<TwoAgents> {
  const host = await bootHost({
    files: dropIn === '' ? {} : {'/etc/systemd/system/towline.service.d/test.conf': dropIn},
  });
  const idOf = async (folder: string): Promise<string> => {
    mkdirSync(join(host.root, folder), {recursive: true, mode: 0o700});
    return (await loadOrCreateIdentity(join(host.root, folder))).id;
  };
  const [sender, receiver] = [await idOf('/var/lib/towline'), await idOf('/var/lib/second')];
  const must = async (command: string): Promise<string> => {
    const ran = await host.shell(command);
    expect(ran, command).toMatchObject({status: 0});
    return ran.stdout.trim();
  };
  const receives = volumes.map((name) => `  ${name}: {at: /srv/copy/${name}, receive: first}\n`).join('');
  mkdirSync(join(host.root, 'etc/towline'), {recursive: true});
  writeFileSync(
    join(host.root, 'etc/second.yaml'),
    `agent: {name: second, state: /var/lib/second}\n` +
      `peers: {first: {id: "${sender}", address: "127.0.0.1:${PORT}"}}\nvolumes:\n${receives}`,
  );
  await must(`mkdir -p ${volumes.map((name) => `/srv/copy/${name}`).join(' ')}`);
  await must('systemd-run --quiet --unit=second towline agent --config /etc/second.yaml');
  const configure = (sent: Record<string, string>): void => {
    const sends = Object.entries(sent).map(([name, at]) => `  ${name}: {at: ${at}, send: [second]}\n`);
    writeFileSync(
      join(host.root, CONFIG),
      `agent: {name: first, listen: "127.0.0.1:${PORT}"}\npeers: {second: {id: "${receiver}"}}\n` +
        `volumes: ${sends.length === 0 ? '{}' : `\n${sends.join('')}`}\n`,
    );
  };
  return {host, must, configure};
}

agentTest(
  'D9 a volume that is mounted, unmounted, mounted again or created after the agent started is seen, and nothing is deleted',
  async () => {
    const {host, must, configure} = await bootTwo(['late', 'new']);
    const image = join(makeTmpDir('file'), 'image');
    writeFileSync(image, '');
    truncateSync(image, 16 * 1024 * 1024);
    expect(spawnSync('mkfs.ext4', ['-q', '-F', image]).status).toBe(0);
    const device = await host.attach(image);
    configure({late: '/mnt/late/data', new: '/srv/new'});
    await must('mkdir -p /mnt/late && systemctl start towline');

    await must(`mount ${device} /mnt/late && mkdir /mnt/late/data && echo first > /mnt/late/data/a`);
    await host.until('grep -q first /srv/copy/late/a', SEEN_MS);
    await must('mkdir /srv/new && echo made > /srv/new/b');
    await host.until('grep -q made /srv/copy/new/b', SEEN_MS);

    await must('umount /mnt/late'); // the agent does not keep it busy
    await host.until('! towline status late | grep -q "in sync"', SEEN_MS);
    expect(await must('cat /srv/copy/late/a')).toBe('first');
    await must(`mount ${device} /mnt/late && echo second > /mnt/late/data/a`);
    await host.until('grep -q second /srv/copy/late/a', SEEN_MS);
    expect(await host.property('towline', 'NRestarts')).toBe('0');
    await must('systemctl stop towline && umount /mnt/late');
    await host.stop();
  },
  300_000,
);

agentTest(
  'J9 started means listening; a reload applies a good configuration and refuses a broken one; J8 it stops in time',
  async () => {
    const {host, must, configure} = await bootTwo(['one', 'two']);
    configure({one: '/srv/one'});
    await must('mkdir /srv/one /srv/two && echo 1 > /srv/one/a && echo 2 > /srv/two/a');
    await must(`systemctl start towline && ${LISTENS}`);
    await host.until('grep -q 1 /srv/copy/one/a', SEEN_MS);
    const pid = await host.property('towline', 'MainPID');

    const connections = (): Promise<string> => must(`awk '$4 == "01" {print $10}' /proc/net/tcp | sort`);
    const before = await connections();
    expect(before.split('\n')).toHaveLength(2); // both ends of one
    configure({one: '/srv/one', two: '/srv/two'});
    await must('systemctl reload towline');
    await host.until('grep -q 2 /srv/copy/two/a', SEEN_MS);
    expect(await connections()).toBe(before);

    writeFileSync(join(host.root, CONFIG), 'volumes: {one: {att: /srv/one}}\n');
    const refused = await host.systemctl('reload', 'towline');
    expect(refused.status).not.toBe(0);
    expect(await must('journalctl -u towline --no-pager')).toContain('att');
    await must('echo 3 > /srv/two/b');
    await host.until('grep -q 3 /srv/copy/two/b', SEEN_MS);
    expect(await host.property('towline', 'ActiveState')).toBe('active');
    expect(await host.property('towline', 'MainPID')).toBe(pid);

    await must('head -c 200M /dev/urandom > /srv/two/large');
    const startMs = performance.now();
    await must('systemctl stop towline');
    expect(performance.now() - startMs).toBeLessThan(10_000);
    expect(await host.property('towline', 'Result')).toBe('success');
    await host.stop();
  },
  300_000,
);

agentTest(
  'J9 an agent that was killed or hangs is started again, and goes on',
  async () => {
    const quick = '[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\nRestartSec=100ms\n';
    const {host, must, configure} = await bootTwo(['one'], quick);
    configure({one: '/srv/one'});
    await must('mkdir /srv/one && systemctl start towline');
    const restarted = async (signal: string, count: number): Promise<void> => {
      const pid = await host.property('towline', 'MainPID');
      await must(`kill -${signal} ${pid}`);
      const isBack = `[ "$(systemctl show -P NRestarts towline)" -ge ${count} ] && systemctl is-active -q towline`;
      await host.until(isBack, SEEN_MS);
      expect(await host.property('towline', 'MainPID')).not.toBe(pid);
      await must(`echo ${signal} > /srv/one/${signal}`);
      await host.until(`grep -q ${signal} /srv/copy/one/${signal}`, SEEN_MS);
    };
    await restarted('KILL', 1);
    await restarted('STOP', 2);
    await host.stop();
  },
  300_000,
);
