/**
 * At boot: what a killed agent left half done is complete before an engine starts.
 */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {bootHost, needsSystemdHost} from '../hosts/systemd.ts';
import {KillBench} from '../lab/kill-bench.ts';
import {checkRolledForward} from '../lab/kill-checks.ts';
import {SCENARIOS} from '../lab/kill-scenarios.ts';
import {needsCommands} from '../needs.ts';

const replacing = SCENARIOS.find(({replaces}) => replaces !== undefined)!;

/** Stands for an engine: what its containers would see when they start. */
const engine = (paths: readonly string[]): string => `[Unit]
Description=an engine
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat ${paths.join(' ')} > /run/seen-at-start'
`;

needsSystemdHost(needsCommands('strace', 'setfattr', 'setfacl')(test))(
  'H4 a batch that an agent was killed in is complete before docker.service starts, and the agent after it',
  async () => {
    const bench = new KillBench();
    for (const nth of [4, 3, 5, 2]) {
      await bench.reset('target', false);
      replacing.change((path) => join(bench.source, path));
      await bench.runKilled('target', 'renameat2', nth);
      if (checkRolledForward(bench.target, bench.journalled('target')).length > 0) break;
    }
    const open = bench.journalled('target');
    expect(checkRolledForward(bench.target, open)).not.toEqual([]);
    const wanted = open.map(({path}) => readFileSync(join(bench.source, path), 'utf8')).join('');
    const {image, mountPoint} = bench.detach();
    const host = await bootHost({
      files: {
        '/etc/towline/towline.yaml': bench.targetConfig(),
        '/etc/systemd/system/late.target': '[Unit]\nWants=docker.service towline.service towline-recover.service\n',
        '/etc/systemd/system/docker.service': engine(open.map(({path}) => join(bench.target, path))),
      },
    });
    const must = async (command: string): Promise<string> => {
      const ran = await host.shell(command);
      expect(ran, command).toMatchObject({status: 0});
      return ran.stdout.trim();
    };
    await must('systemctl enable towline-recover');
    expect(await must('readlink /etc/systemd/system/multi-user.target.wants/towline-recover.service')).toContain(
      'towline-recover',
    );
    expect(await must('systemd-analyze verify --man=no towline-recover.service 2>&1')).toBe('');
    const before = (await host.property('towline-recover', 'Before')).split(' ');
    expect(before).toEqual(
      expect.arrayContaining([
        'docker.service',
        'podman.service',
        'containerd.service',
        'towline.service',
        'multi-user.target',
      ]),
    );
    expect((await host.property('towline-recover', 'After')).split(' ')).toContain('local-fs.target');
    expect((await host.property('docker', 'After')).split(' ')).toContain('towline-recover.service');

    await must(`mkdir -p ${mountPoint} && mount ${await host.attach(image)} ${mountPoint}`);
    await must('chmod 600 /etc/towline/towline.yaml');
    await must('systemctl start late.target'); // as at boot: all of them in one transaction
    await host.until('systemctl is-active docker towline');
    expect(await host.property('towline-recover', 'Result')).toBe('success');
    expect(await must('journalctl -u towline-recover --no-pager -o cat')).toContain(
      '1 batch that a crash had interrupted is complete',
    );
    const seen = await must('cat /run/seen-at-start');
    expect(`${seen}\n`).toBe(wanted);
    const startOf = async (unit: string): Promise<number> =>
      Number(await host.property(unit, 'ExecMainStartTimestampMonotonic'));
    const endedMs = Number(await host.property('towline-recover', 'ExecMainExitTimestampMonotonic'));
    for (const unit of ['docker', 'towline']) expect(await startOf(unit), unit).toBeGreaterThan(endedMs);
    await must(`systemctl stop towline && umount ${mountPoint}`);
    await host.stop();
    bench.attach();
  },
  300_000,
);
