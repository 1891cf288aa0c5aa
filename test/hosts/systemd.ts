/**
 * A host with systemd as PID 1: a Debian root of the least size, booted with systemd-nspawn, with this project in
 * /opt/towline, the program as /usr/bin/towline and the unit in place, not started.
 *
 * The root is made once a machine (about 35 s) and never written to: each host has a layer of its own above it.
 * Invariant: the host is gone with the test file, also when a test failed, and with this process when it is killed.
 */
import {spawn, spawnSync, type ChildProcess} from 'node:child_process';
import {createHash} from 'node:crypto';
import {once} from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {dirname, join} from 'node:path';
import {afterAll, type describe, type test} from 'vitest';
import {needsCommands, needsRoot} from '../needs.ts';
import {makeRunFolder, mountsBelow, removeTree} from '../run-folders.ts';
import {PROJECT} from '../source-rules.ts';

const DEBIAN = {release: 'bookworm', packages: ['systemd', 'systemd-sysv', 'dbus']};
const CACHE = '/var/cache/towline-test';
const BOOT_MS_MAX = 60_000;
const STOP_MS_MAX = 20_000;
const POLL_MS = 50;

/** What went in `makeBaseRoot` decides the name: a change of it makes another root. */
const BASE_ROOT = join(CACHE, `root-${createHash('sha256').update(JSON.stringify(DEBIAN)).digest('hex').slice(0, 12)}`);

/** Skips unless such a host can be booted here. */
export function needsSystemdHost<T extends typeof test | typeof describe>(declare: T): T {
  return needsRoot(needsCommands('systemd-nspawn', 'debootstrap', 'nsenter', 'flock', 'setpriv')(declare));
}

/** Skips unless a Debian root can be made here. */
export function needsDebianRoot<T extends typeof test | typeof describe>(declare: T): T {
  return needsRoot(needsCommands('debootstrap', 'flock')(declare));
}

export interface Ran {
  /** Exit code; 255 for a command that a signal ended. */
  status: number;
  stdout: string;
  stderr: string;
}

export interface SystemdHost {
  /** Where the host's root is seen from here, to read and write its files (not what the host mounts). */
  readonly root: string;
  /** Runs a shell command as the host's root, whatever its status. */
  shell(command: string): Promise<Ran>;
  systemctl(...args: string[]): Promise<Ran>;
  /** The service's property, as `systemctl show` prints it. */
  property(unit: string, name: string): Promise<string>;
  /** Polls a shell command until it succeeds. @returns its output @throws with what it said last */
  until(command: string, timeoutMs?: number): Promise<string>;
  /** Attaches an image file of ours as a block device. @returns its path on the host, to `mount` there */
  attach(imagePath: string): Promise<string>;
  /** Powers off. */
  stop(): Promise<void>;
}

export interface SystemdHostOptions {
  /** Files to write before it boots: absolute path to text. */
  files?: Record<string, string>;
}

const running = new Set<SystemdHost>();
afterAll(async () => {
  for (const host of running) await host.stop();
});

/** Boots a host; resolves when systemd has started everything. Needs `npm run build` before. */
export async function bootHost(options: SystemdHostOptions = {}): Promise<SystemdHost> {
  makeBaseRoot();
  const folder = makeRunFolder();
  const root = join(folder, 'root');
  for (const name of ['root', 'upper', 'work']) mkdirSync(join(folder, name), {mode: 0o755});
  const layers = `lowerdir=${BASE_ROOT},upperdir=${join(folder, 'upper')},workdir=${join(folder, 'work')}`;
  run('mount', '-t', 'overlay', '-o', layers, 'overlay', root);
  installProject(root);
  for (const [path, text] of Object.entries(options.files ?? {})) {
    mkdirSync(join(root, dirname(path)), {recursive: true, mode: 0o755});
    writeFileSync(join(root, path), text);
  }
  const consolePath = join(folder, 'console');
  const host = new Nspawned(folder, root, startNspawn(root, consolePath));
  running.add(host);
  try {
    await host.booted();
  } catch (error) {
    const said = readFileSync(consolePath, 'latin1').slice(-2000);
    await host.stop();
    throw new Error(`the host did not boot: ${said}`, {cause: error});
  }
  return host;
}

/** A Debian root, made when it is missing; never to be written to. */
export function debianRoot(): string {
  makeBaseRoot();
  return BASE_ROOT;
}

/** Made under a lock and renamed into place, so that a killed run leaves nothing that looks whole. */
function makeBaseRoot(): void {
  if (existsSync(BASE_ROOT)) return;
  mkdirSync(CACHE, {recursive: true, mode: 0o700});
  const script = `
    [ -e "$1" ] && exit 0
    mirror="$(apt-cache policy bash | grep -oE 'https?://[^ ]+' | grep -v security | head -1)"
    rm -rf --one-file-system "$1.new"
    debootstrap --variant=minbase --include="$2" "$3" "$1.new" "$mirror" >"$1.log" 2>&1 || { tail -5 "$1.log" >&2; exit 1; }
    : >"$1.new/etc/machine-id"
    mv "$1.new" "$1"`;
  const args = [`${BASE_ROOT}.lock`, 'sh', '-c', script, 'sh', BASE_ROOT, DEBIAN.packages.join(','), DEBIAN.release];
  run('flock', ...args);
}

/** The package as an administrator would have it, its folders shared with this tree when the host boots. */
function installProject(root: string): void {
  const home = join(root, 'opt/towline');
  mkdirSync(join(home, 'bin'), {recursive: true});
  for (const name of ['dist', 'node_modules']) mkdirSync(join(home, name));
  for (const file of ['package.json', 'bin/towline.js']) copyFileSync(join(PROJECT, file), join(home, file));
  symlinkSync('/opt/towline/bin/towline.js', join(root, 'usr/bin/towline'));
  symlinkSync('/opt/towline/node_modules/.bin/node', join(root, 'usr/bin/node'));
  for (const unit of ['towline.service', 'towline-recover.service'])
    copyFileSync(join(PROJECT, 'systemd', unit), join(root, 'etc/systemd/system', unit));
}

function startNspawn(root: string, consolePath: string): ChildProcess {
  const shared = ['dist', 'node_modules'].map(
    (name) => `--bind-ro=${realpathSync(join(PROJECT, name))}:/opt/towline/${name}`,
  );
  const nspawn = ['systemd-nspawn', '-D', root, '--register=no', '--keep-unit', '--private-network', '--console=pipe'];
  const log = openSync(consolePath, 'w', 0o600);
  return spawn('setpriv', ['--pdeathsig', 'KILL', ...nspawn, ...shared, '--quiet', '-b'], {
    stdio: ['ignore', log, log],
  });
}

class Nspawned implements SystemdHost {
  readonly root: string;
  readonly #folder: string;
  readonly #nspawn: ChildProcess;
  readonly #loops: string[] = [];

  constructor(folder: string, root: string, nspawn: ChildProcess) {
    this.#folder = folder;
    this.root = root;
    this.#nspawn = nspawn;
  }

  async booted(): Promise<void> {
    await this.until('[ "$(systemctl is-system-running)" = running ]', BOOT_MS_MAX);
  }

  async shell(command: string): Promise<Ran> {
    const pid = this.#leader();
    if (pid === '') return {status: 255, stdout: '', stderr: 'PID 1 is not there'};
    return runAsync('nsenter', '-t', pid, '-a', 'sh', '-c', command);
  }

  async systemctl(...args: string[]): Promise<Ran> {
    const pid = this.#leader();
    return runAsync('nsenter', '-t', pid, '-a', 'systemctl', ...args);
  }

  async property(unit: string, name: string): Promise<string> {
    return (await this.systemctl('show', '-P', name, unit)).stdout.trim();
  }

  async until(command: string, timeoutMs = 15_000): Promise<string> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const ran = await this.shell(command);
      if (ran.status === 0) return ran.stdout;
      if (this.#nspawn.exitCode !== null) throw new Error(`the host has ended before: ${command}`);
      if (performance.now() > deadlineMs) {
        throw new Error(`not within ${timeoutMs} ms: ${command}\n${ran.stdout}${ran.stderr}`);
      }
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS);
      });
    }
  }

  async attach(imagePath: string): Promise<string> {
    const device = run('losetup', '--find', '--show', imagePath).trim();
    this.#loops.push(device);
    const number = /\d+$/.exec(device)![0];
    const made = await this.shell(`[ -e ${device} ] || mknod ${device} b 7 ${number}`);
    if (made.status !== 0) throw new Error(made.stderr);
    return device;
  }

  async stop(): Promise<void> {
    if (!running.delete(this)) return;
    const ended = this.#nspawn.exitCode === null ? once(this.#nspawn, 'exit') : Promise.resolve();
    await this.systemctl('poweroff');
    const timer = setTimeout(() => this.#nspawn.kill('SIGKILL'), STOP_MS_MAX);
    await ended;
    clearTimeout(timer);
    for (const device of this.#loops) spawnSync('losetup', ['-d', device]);
    for (const point of mountsBelow(this.#folder)) spawnSync('umount', ['-l', point]);
    removeTree(this.#folder);
  }

  /** PID 1 of the host, as we number it: the only child of nspawn; '' while there is none. */
  #leader(): string {
    try {
      return readFileSync(`/proc/${this.#nspawn.pid}/task/${this.#nspawn.pid}/children`, 'latin1').trim();
    } catch {
      return '';
    }
  }
}

async function runAsync(command: string, ...args: string[]): Promise<Ran> {
  const env = {PATH: process.env['PATH'], LANG: 'C.UTF-8'}; // what else is set here means nothing there
  const child = spawn(command, args, {stdio: ['ignore', 'pipe', 'pipe'], env});
  const ran: Ran = {status: 255, stdout: '', stderr: ''};
  child.stdout.on('data', (bytes: Buffer) => (ran.stdout += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (ran.stderr += bytes.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  return {...ran, status: status ?? 255};
}

function run(command: string, ...args: string[]): string {
  const result = spawnSync(command, args, {encoding: 'utf8'});
  if (result.status === 0) return result.stdout;
  throw new Error(`${command} failed: ${result.error?.message ?? result.stderr.trim()}`);
}
