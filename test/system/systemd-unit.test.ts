/**
 * The unit that ships: systemd finds nothing wrong in it, and what the program does is possible with the rights it gives.
 */
import {spawnSync} from 'node:child_process';
import {readFileSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {bootHost, needsSystemdHost} from '../hosts/systemd.ts';
import {needsCommands} from '../needs.ts';
import {PROJECT} from '../source-rules.ts';
import {makeTmpDir} from '../tmp.ts';

const UNIT = readFileSync(join(PROJECT, 'systemd/towline.service'), 'utf8');
const RECOVER = readFileSync(join(PROJECT, 'systemd/towline-recover.service'), 'utf8');

/** What systemd says about a unit; '' when nothing. The program need not be installed here. */
function complaints(text: string, name = 'towline.service'): string {
  const path = join(makeTmpDir(), name);
  writeFileSync(path, text.replaceAll('=/usr/bin/towline', '=/bin/true'));
  const {status, stderr} = spawnSync('systemd-analyze', ['verify', '--man=no', path], {encoding: 'utf8'});
  return `${stderr}${status === 0 ? '' : `exit code ${status}`}`;
}

needsCommands('systemd-analyze')(test)(
  'J9 systemd accepts the unit as it is, and not with a key it does not know',
  () => {
    expect(complaints(UNIT)).toBe('');
    expect(complaints(UNIT.replace('\n[Service]\n', '\n[Service]\nRestartNever=yes\n'))).toContain('RestartNever');
    expect(complaints(RECOVER, 'towline-recover.service')).toBe('');
  },
);

const DROP_IN = `[Service]
Type=exec
WatchdogSec=0
ExecStart=
ExecStart=/usr/bin/towline sync /srv/source /srv/target --settle 10ms
`;

needsSystemdHost(needsCommands('mkfs.ext4', 'getfattr')(test))(
  'owners, setuid bits and the mark are kept with the rights of the unit, also on an ext4 mounted later',
  async () => {
    const host = await bootHost({
      files: {
        '/etc/systemd/system/towline.service.d/sync.conf': DROP_IN,
        '/srv/source/tool': 'x',
      },
    });
    const must = async (command: string): Promise<string> => {
      const ran = await host.shell(command);
      expect(ran, command).toMatchObject({status: 0});
      return ran.stdout.trim();
    };
    const image = join(makeTmpDir('file'), 'image');
    writeFileSync(image, '');
    truncateSync(image, 32 * 1024 * 1024);
    run('mkfs.ext4', '-q', '-F', image);
    await must(`mkdir /srv/target && mount ${await host.attach(image)} /srv/target && rmdir /srv/target/lost+found`);
    await must('chown 1234:4321 /srv/source/tool && chmod 6755 /srv/source/tool');
    expect(await must('systemctl start towline; systemctl is-active towline')).toBe('active');
    const seen = 'stat -c "%u:%g %a" /srv/target/tool';
    await host.until(`[ "$(${seen})" = "1234:4321 6755" ]`);
    await must('echo later > /srv/source/later && chown 7 /srv/source/later && chmod 400 /srv/source/later');
    await host.until('grep -q later /srv/target/later');
    const pid = await host.property('towline', 'MainPID');
    // The namespace is the host's own: what is mounted later is seen, what is unmounted is not kept busy.
    expect(await must(`readlink /proc/${pid}/ns/mnt`)).toBe(await must('readlink /proc/1/ns/mnt'));
    expect(await must('stat -c "%a %U" /run/towline /var/lib/towline')).toBe('700 root\n700 root');
    // Threads that work in volumes rest in a folder of their own: the second wall stands.
    expect(await must(`readlink /proc/${pid}/task/*/root | sort -u`)).toMatch(/^\/\n.+/);
    const stopped = performance.now();
    await must('systemctl stop towline');
    expect(performance.now() - stopped).toBeLessThan(10_000);
    expect(await host.property('towline', 'Result')).toBe('success');
    await must('umount /srv/target');
    await host.stop();
    const target = makeTmpDir('file');
    run('mount', '-o', 'loop,ro', image, target);
    onTestFinished(() => void spawnSync('umount', ['-l', target]));
    expect(run('getfattr', '-d', '-m', 'trusted', '-e', 'hex', target)).toMatch(/trusted\.towline\.volume=0x\w{32}/);
  },
  180_000,
);

needsSystemdHost(test)(
  'D9 with ProtectSystem=full in a drop-in, what is mounted and unmounted later is so for the service too',
  async () => {
    const protect = '[Service]\nProtectSystem=full\nReadWritePaths=/etc/towline\n';
    const host = await bootHost({
      files: {
        '/etc/systemd/system/towline.service.d/sync.conf': DROP_IN,
        '/etc/systemd/system/towline.service.d/protect.conf': protect,
        '/srv/source/a': 'x',
      },
    });
    await host.until('mkdir -p /srv/target /srv/late && systemctl start towline');
    await host.until('grep -q x /srv/target/a');
    const pid = await host.property('towline', 'MainPID');
    expect((await host.shell(`readlink /proc/${pid}/ns/mnt /proc/1/ns/mnt | uniq | wc -l`)).stdout).toBe('2\n');
    const image = join(makeTmpDir('file'), 'image');
    writeFileSync(image, '');
    truncateSync(image, 8 * 1024 * 1024);
    run('mkfs.ext4', '-q', '-F', image);
    expect(await host.shell(`mount ${await host.attach(image)} /srv/late`)).toMatchObject({status: 0});
    await host.until(`grep -q ' /srv/late ext4 rw' /proc/${pid}/mounts`);
    expect(await host.shell('umount /srv/late')).toMatchObject({status: 0});
    await host.until(`! grep -q /srv/late /proc/${pid}/mounts`);
    await host.stop();
  },
  180_000,
);

function run(command: string, ...args: string[]): string {
  const result = spawnSync(command, args, {encoding: 'utf8'});
  expect(result, command).toMatchObject({status: 0});
  return result.stdout;
}
