/**
 * Real container engines for tests: a Docker engine of its own, also inside a network namespace, and Podman's service.
 *
 * Needs root: declare the tests with `needsDocker` or `needsPodman`. Nothing is pulled: the one image, `box`, is made of
 * a static busybox. Invariant: engines, containers and mounts end with the test file; engines also when it is killed.
 */
import {spawn, spawnSync, type ChildProcess} from 'node:child_process';
import {closeSync, cpSync, mkdirSync, openSync, readFileSync, symlinkSync} from 'node:fs';
import {connect} from 'node:net';
import {join} from 'node:path';
import {afterAll, type describe, type test} from 'vitest';
import {needsCommands, needsRoot} from '../needs.ts';
import {mountsBelow} from '../run-folders.ts';
import {command} from '../sync/harness.ts';
import {makeTmpDir} from '../tmp.ts';

const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 20_000;
const APPLETS = ['cat', 'cp', 'echo', 'ls', 'mkdir', 'mount', 'mv', 'rm', 'sh', 'sleep', 'touch'];

type Declare = typeof test | typeof describe;

/** Skips where no Docker engine can be started. */
export function needsDocker<T extends Declare>(declare: T): T {
  return needsRoot(needsCommands('dockerd', 'docker', 'busybox', 'tar', 'setpriv', 'nsenter')(declare));
}

/** Skips where Podman is missing. */
export function needsPodman<T extends Declare>(declare: T): T {
  return needsRoot(needsCommands('podman', 'busybox', 'tar', 'setpriv')(declare));
}

export interface EngineOptions {
  /** Where everything of the engine lies; short, for the socket's sake. Default: a new temporary folder. */
  folder?: string;
  /** Name of a network namespace that it runs in; its volumes are on this host's filesystem all the same. */
  netns?: string;
}

interface TestEngine {
  readonly folder: string;
  readonly socket: string;
  /** Waits until the engine answers. */
  start(): Promise<void>;
  /** Ends the engine as its service manager does; containers of Docker end with it. */
  stop(): Promise<void>;
  restart(): Promise<void>;
}

export interface DockerEngine extends TestEngine {
  /** `docker ARGS…` with this engine. @returns what it printed, trimmed; throws when it fails */
  docker: (...args: string[]) => string;
  /** Runs a container of `box` in the background that only sleeps and ends at once when told. @param args `-v a:/b` … */
  run(name: string, ...args: string[]): string;
}

export interface PodmanEngine extends TestEngine {
  /** `podman ARGS…` on the same storage. @returns what it printed, trimmed; throws when it fails */
  podman: (...args: string[]) => string;
}

const alive = new Set<EngineProcess>();
afterAll(async () => {
  for (const process of alive) await process.destroy();
});

/** Starts a Docker engine that touches no network settings of its host; `box` is there. */
export async function startDockerEngine({
  folder = makeTmpDir('file'),
  netns,
}: EngineOptions = {}): Promise<DockerEngine> {
  const socket = join(folder, 'docker.sock');
  const inNamespace = netns === undefined ? [] : ['nsenter', `--net=/run/netns/${netns}`];
  const process = new EngineProcess({folder, socket}, [
    ...[...inNamespace, 'dockerd', '--iptables=false', '--bridge=none', '-H', `unix://${socket}`],
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '-p', join(folder, 'pid')],
  ]);
  const docker = (...args: string[]): string => command('docker', '-H', `unix://${socket}`, ...args).trim();
  process.beforeDestroy = () => {
    const containers = docker('ps', '-aq').split('\n').filter(Boolean);
    if (containers.length > 0) docker('rm', '-f', ...containers);
  };
  await process.start();
  importBox(folder, docker);
  return Object.assign(process, {
    docker,
    run: (name: string, ...args: string[]) =>
      docker(
        ...['run', '-d', '--name', name, '--network=none', '--stop-signal=KILL'],
        ...args,
        'box',
        'sleep',
        '100000',
      ),
  });
}

/** Starts Podman's service with storage of its own; `box` is there. Containers can be made, but need not be startable. */
export async function startPodmanEngine({folder = makeTmpDir('file')}: {folder?: string} = {}): Promise<PodmanEngine> {
  const socket = join(folder, 'podman.sock');
  const storage = [
    ...['--root', join(folder, 'root'), '--runroot', join(folder, 'run'), '--tmpdir', join(folder, 'tmp')],
    ...['--events-backend', 'file', '--cgroup-manager', 'cgroupfs'],
  ];
  const service = ['podman', ...storage, 'system', 'service', '--time=0', `unix://${socket}`];
  const process = new EngineProcess({folder, socket}, service);
  const podman = (...args: string[]): string => command('podman', ...storage, ...args).trim();
  await process.start();
  importBox(folder, podman);
  return Object.assign(process, {podman});
}

class EngineProcess implements TestEngine {
  readonly folder: string;
  readonly socket: string;
  readonly #words: string[];
  #child: ChildProcess | undefined;
  beforeDestroy: () => void = () => undefined;

  constructor({folder, socket}: {folder: string; socket: string}, words: string[]) {
    this.folder = folder;
    this.socket = socket;
    // Ends with this process, also when that is killed; containerd ends with dockerd.
    this.#words = ['setpriv', '--pdeathsig', 'TERM', '--', ...words];
  }

  async start(): Promise<void> {
    const log = openSync(join(this.folder, 'log'), 'a');
    const child = spawn(this.#words[0]!, this.#words.slice(1), {stdio: ['ignore', log, log]});
    closeSync(log);
    this.#child = child;
    alive.add(this);
    const deadline = Date.now() + START_DEADLINE_MS;
    while (!(await answers(this.socket))) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`no engine: ${this.#lastLines()}`);
      await pause(50);
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await ended;
    clearTimeout(timer);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async destroy(): Promise<void> {
    alive.delete(this);
    try {
      if (this.#child !== undefined) this.beforeDestroy();
    } finally {
      await this.stop();
      for (const point of mountsBelow(this.folder)) spawnSync('umount', ['-l', point]);
    }
  }

  #lastLines(): string {
    return readFileSync(join(this.folder, 'log'), 'utf8').split('\n').slice(-6).join('\n');
  }
}

/** Whether an engine answers at a socket: it accepts connections long before it does. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket, () => connection.write('GET /_ping HTTP/1.0\r\n\r\n'));
    connection.setTimeout(2_000, () => connection.destroy());
    connection.once('data', (part) => {
      resolve(/^HTTP\/1\.[01] 200/.test(part.toString('latin1')));
      connection.destroy();
    });
    connection.once('error', () => resolve(false));
    connection.once('close', () => resolve(false));
  });
}

function importBox(folder: string, engine: (...args: string[]) => string): void {
  const tree = join(folder, 'box');
  mkdirSync(join(tree, 'bin'), {recursive: true});
  cpSync(command('sh', '-c', 'command -v busybox').trim(), join(tree, 'bin/busybox'), {dereference: true});
  for (const applet of APPLETS) symlinkSync('busybox', join(tree, 'bin', applet));
  command('tar', '-C', tree, '-cf', join(folder, 'box.tar'), '.');
  engine('import', join(folder, 'box.tar'), 'box');
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
