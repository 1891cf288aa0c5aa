/**
 * A newcomer pairs two hosts from the README: types what stands in its blocks between the markers, on two hosts that
 * have nothing of Towline but the program, and has a volume in sync in minutes. Says how long it took.
 *
 * A block is typed on the host that its first line names (`# on web-1`). CODE stands for the code that was shown.
 */
import type {ChildProcess} from 'node:child_process';
import {mkdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {describe, expect, test} from 'vitest';
import {differencesOf} from '../hosts/agents.ts';
import {needsHosts} from '../hosts/lab.ts';
import {type Host, makeNetwork} from '../hosts/namespaces.ts';
import {makeTmpDir} from '../tmp.ts';

const PROJECT = join(import.meta.dirname, '../..');
const MARKED = /<!-- two hosts: begin -->([^]*?)<!-- two hosts: end -->/;
const BLOCK = /^```sh\n# on (\S+)\n([^]*?)^```$/gm;
const SECONDS_MAX = 300; // a person has to read and type meanwhile: the machine's part must be far below
const MACHINE_SECONDS_MAX = 60;
const STEP_MS_MAX = 60_000;
const SAYS = /\btowline1-[\w-]+/; // the code, as `towline invite` prints it
/** What systemd does, for hosts that have none: a service of Type=notify has started when it says that it is ready. */
const SERVICE = `
systemctl() {
  case "$*" in
    *enable*towline*|*start*towline*) towline agent >>/var/log/agent.log 2>&1 & echo $! >/var/lib/agent.pid
      until grep -q '"ready"' /var/log/agent.log; do sleep 0.05; done ;;
    reload*towline*) kill -HUP "$(cat /var/lib/agent.pid)" ;;
    *stop*towline*) kill "$(cat /var/lib/agent.pid)" ;;
  esac
}
sudo() { "$@"; }
`;

interface Step {
  host: string;
  commands: string;
}

/** What the README tells to type, in its order. */
function stepsOf(readme: string): Step[] {
  const marked = MARKED.exec(readme)?.[1];
  if (marked === undefined) throw new Error('README.md has no part between <!-- two hosts: begin --> and end');
  return [...marked.matchAll(BLOCK)].map(([, host = '', commands = '']) => ({host, commands}));
}

/** A shell that stays, on a host whose /etc, /srv, /var/lib and /var/log are its own. */
class Shell {
  readonly #child: ChildProcess;
  #output = '';
  #steps = 0;

  constructor(name: string, host: Host, folder: string) {
    const own = ['etc', 'srv', 'var/lib', 'var/log'].map((path) => {
      const from = join(folder, path);
      mkdirSync(from, {recursive: true});
      const copy = path === 'etc' ? `cp -a /etc/. ${from} && ` : '';
      return `${copy}mount --bind ${from} /${path}`;
    });
    // What `ip netns exec` has put over /etc/hosts is copied with the rest.
    const script = [...own, `hostname ${name}`, 'exec sh'].join(' && ');
    this.#child = host.spawn(['unshare', '--mount', '--uts', '--propagation', 'private', 'sh', '-c', script], {
      cwd: '/',
      env: {...process.env, PATH: `${join(folder, 'bin')}:${process.env['PATH']}`, NO_COLOR: '1'},
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    }
    this.#child.stdin!.write(SERVICE);
  }

  /** Types lines and waits until they have run. @returns what they said @throws Error when one of them fails */
  async type(commands: string): Promise<string> {
    const from = this.#output.length;
    const done = `step-${++this.#steps}-ended-with`;
    // The first failure ends the step; what it has started stays.
    this.#child.stdin!.write(`(set -e\n${commands}\n)\necho "${done} $?"\n`);
    const ended = new RegExp(`^${done} (\\d+)$`, 'm');
    const endMs = performance.now() + STEP_MS_MAX;
    for (;;) {
      const said = this.#output.slice(from);
      const code = ended.exec(said)?.[1];
      if (code === '0') return said;
      const isDead = this.#child.exitCode !== null;
      if (code !== undefined || isDead || performance.now() > endMs)
        throw new Error(`${commands}\nended with ${code}:\n${said}`);
      await sleep(20);
    }
  }

  stop(): void {
    this.#child.stdin!.end('systemctl stop towline\n');
  }
}

needsHosts(describe)('a newcomer', {timeout: SECONDS_MAX * 1_000}, () => {
  test('has a volume in sync between two hosts by typing what the README says', async () => {
    const steps = stepsOf(readFileSync(join(PROJECT, 'README.md'), 'utf8'));
    const names = [...new Set(steps.map(({host}) => host))];
    expect(names).toHaveLength(2);
    const base = makeTmpDir('file');
    const {hosts} = makeNetwork(2);
    const shells = new Map<string, Shell>();
    names.forEach((name, index) => {
      const folder = join(base, name);
      mkdirSync(join(folder, 'bin'), {recursive: true});
      symlinkSync(join(PROJECT, 'bin/towline.js'), join(folder, 'bin/towline'));
      mkdirSync(join(folder, 'srv/website'), {recursive: true});
      hosts[index]!.nameHosts(Object.fromEntries(names.map((other, at) => [other, hosts[at]!.ipv4])));
      shells.set(name, new Shell(name, hosts[index]!, folder));
    });
    const website = (index: number): string => join(base, names[index]!, 'srv/website');
    const source = steps.some(({host, commands}) => host === names[0] && commands.includes('send:')) ? 0 : 1;
    for (let file = 0; file < 20; file++) writeFileSync(join(website(source), `page-${file}.html`), `page ${file}\n`);

    const startMs = performance.now();
    let code = 'CODE';
    for (const {host, commands} of steps) {
      const said = await shells.get(host)!.type(commands.replaceAll(/\bCODE\b/g, code));
      code = SAYS.exec(said)?.[0] ?? code;
    }
    expect(await differencesOf(website(source), website(1 - source))).toBe('');
    const seconds = (performance.now() - startMs) / 1_000;
    console.log(`a newcomer's two hosts are in sync after ${seconds.toFixed(1)} s of the machine's time`);
    expect(seconds).toBeLessThan(MACHINE_SECONDS_MAX);
    for (const shell of shells.values()) shell.stop();
  });
});
