/**
 * Starts a process as a container's would be: mount, PID, IPC and host name spaces of its own, the capabilities that Docker
 * gives, and a volume, bind-mounted, as all it can see.
 *
 * Invariant: it ends with its file, and reports what it has done when it is stopped.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {join} from 'node:path';
import {afterAll} from 'vitest';
import type {Order, Report} from './in-container.ts';

const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');
const CAPABILITIES = ['chown', 'dac_override', 'fowner', 'fsetid', 'mknod', 'setuid', 'setgid', 'sys_chroot'];
const BOUNDING = ['-all', ...CAPABILITIES.map((name) => `+${name}`)].join(',');

/** What the host has mounted in the volume is no mount for a container that does not have it mounted too. */
const SCRIPT = `
  awk -v root="$0/" 'index($5, root) == 1 {print $5}' /proc/self/mountinfo | sort -r |
    while read -r point; do umount -- "$point"; done
  mount --bind -- "$0" "$0" && exec "$@"`;

const alive = new Set<ChildProcess>();
afterAll(() => {
  for (const child of alive) child.kill('SIGKILL');
});

/** A running process in a container. */
export interface Contained<R extends Report> {
  /** Ends it. @returns what it has done */
  stop(): Promise<R>;
}

/**
 * @param program a file of this folder that calls `runInContainer`
 * @returns once it is at work
 */
export async function startInContainer<O extends Order, R extends Report>(
  program: string,
  order: O,
): Promise<Contained<R> & {order: O}> {
  const words = ['setpriv', `--bounding-set=${BOUNDING}`, '--inh-caps=-all', NODE, join(import.meta.dirname, program)];
  const spaces = ['--mount', '--pid', '--ipc', '--uts', '--fork', '--kill-child'];
  const child = spawn('unshare', [...spaces, 'sh', '-c', SCRIPT, order.root, ...words, JSON.stringify(order)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  alive.add(child);
  let [stdout, stderr] = ['', ''];
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<void>((resolve) =>
    child.once('close', () => {
      alive.delete(child);
      resolve();
    }),
  );
  const failed = ended.then(() => {
    throw new Error(`${program} ended: ${stderr}${stdout}`);
  });
  failed.catch(() => undefined);
  await Promise.race([
    failed,
    new Promise<void>((resolve) =>
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
        resolve();
      }),
    ),
  ]);
  return {
    order,
    stop: async () => {
      child.stdin.end();
      await ended;
      const report = stdout.trimEnd().split('\n').at(-1) ?? '';
      if (!report.startsWith('{')) throw new Error(`${program} gave no report: ${stderr}${stdout}`);
      return JSON.parse(report) as R;
    },
  };
}
