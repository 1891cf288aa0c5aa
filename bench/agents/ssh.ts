/**
 * An sshd of our own in a host, with keys made for the measurement, and how rsync is told to use it.
 *
 * Needs Debian's openssh-server. Not the machine's own sshd: it has another port, another configuration, other keys.
 */
import {once} from 'node:events';
import {existsSync, mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import type {Host} from '../../test/hosts/namespaces.ts';
import {must} from '../sync/filesystems.ts';

const SSHD = '/usr/sbin/sshd';
const SEPARATION_FOLDER = '/run/sshd'; // sshd insists on it; Debian's service makes it
export const SSH_PORT = 7422;

/** Makes keys and a configuration in an empty folder. @returns starts the server in a host, and what `rsync -e` takes */
export function makeSsh(folder: string): {
  start(host: Host): Promise<() => Promise<void>>;
  shell(port: number): string;
} {
  if (!existsSync(SSHD)) throw new Error(`${SSHD} is missing: apt-get install openssh-server openssh-client`);
  mkdirSync(folder, {recursive: true, mode: 0o700});
  mkdirSync(SEPARATION_FOLDER, {recursive: true, mode: 0o755});
  const [hostKey, key, config] = ['host-key', 'key', 'config'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const file of [hostKey, key]) must('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', file);
  const settings = {
    Port: SSH_PORT,
    HostKey: hostKey,
    AuthorizedKeysFile: `${key}.pub`,
    StrictModes: 'no',
    UsePAM: 'no',
    PermitRootLogin: 'prohibit-password',
    PidFile: 'none',
  };
  writeFileSync(
    config,
    Object.entries(settings)
      .map(([name, value]) => `${name} ${value}\n`)
      .join(''),
  );
  return {
    start: async (host) => {
      const server = host.spawn([SSHD, '-D', '-e', '-f', config], {stdio: ['ignore', 'ignore', 'pipe']});
      const [said] = (await once(server.stderr!, 'data')) as [Buffer];
      if (!said.includes('listening')) throw new Error(`sshd: ${said.toString()}`);
      return async () => {
        const ended = once(server, 'exit');
        server.kill('SIGTERM');
        await ended;
      };
    },
    shell: (port) =>
      [
        'ssh',
        '-F',
        'none',
        '-i',
        key,
        '-p',
        port,
        '-o',
        'StrictHostKeyChecking=no',
        '-o',
        'UserKnownHostsFile=/dev/null',
        '-q',
      ].join(' '),
  };
}
