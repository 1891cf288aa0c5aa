/**
 * One agent as on a host of its own: its folder, its configuration, its process in the host's namespace.
 *
 * Build before (`npm test` does); TOWLINE_TEST_MAIN=src/main.ts runs the sources as they are. It is asked over its
 * control socket, which costs no process. Invariant: a process is ended by its id, at the end of the file at the latest.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {type IncomingMessage, request} from 'node:http';
import {join, resolve} from 'node:path';
import {json, text} from 'node:stream/consumers';
import {setTimeout as sleep} from 'node:timers/promises';
import {stringify} from 'yaml';
import type {AgentReport, LinkReport, RunOutcome, VolumeReport} from '../../src/control/agent-api.ts';
import {killAtEnd} from './clean-up.ts';
import type {Host} from './namespaces.ts';

const PROJECT = join(import.meta.dirname, '../..');
const NODE = join(PROJECT, 'node_modules/.bin/node');
const MAIN = resolve(PROJECT, process.env['TOWLINE_TEST_MAIN'] ?? 'dist/main.js');
const START_MS_MAX = 90_000; // on a machine that is busy with other things; a start takes less than a second
const UNTIL_MS_MAX = 20_000;
const STOP_MS_MAX = 15_000;
const ANSWER_MS_MAX = 10_000;
const COMMAND_MS_MAX = 60_000;
const POLL_MS = 25;
const LOG_TAIL_LINES = 40;
export const PORT = 7420;

/** What stands under `volumes` in a configuration. */
export interface VolumeSettings {
  at: string;
  send?: (string | {to: string; [key: string]: unknown})[];
  receive?: string | {from: string; [key: string]: unknown};
  [key: string]: unknown;
}

export interface AgentSettings {
  volumes?: Record<string, VolumeSettings>;
  limits?: Record<string, unknown>;
  engines?: Record<string, unknown>;
}

export interface AgentOptions {
  name: string;
  /** Its own: configuration, state, log and volumes lie in there. */
  folder: string;
  host: Host;
  config?: AgentSettings;
  /** False: it only dials. */
  listens?: boolean;
  /** Put before node, for instance strace. */
  wrapper?: readonly string[];
  /** Instead of the built program: its sources, to which modules of the tests can be added. */
  main?: string;
}

export interface CommandResult {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  seconds: number;
}

export class TestAgent {
  readonly name: string;
  readonly folder: string;
  readonly host: Host;
  readonly configFile: string;
  readonly stateFolder: string;
  readonly listens: boolean;
  /** Set by `pair`: who a peer's name is. */
  readonly peers = new Map<string, TestAgent>();
  readonly #wrapper: readonly string[];
  readonly #main: string;
  #child: ChildProcess | undefined;

  constructor({name, folder, host, listens = true, wrapper = [], main = MAIN, config = {}}: AgentOptions) {
    this.name = name;
    this.folder = folder;
    this.host = host;
    this.listens = listens;
    this.#wrapper = wrapper;
    this.#main = main;
    this.configFile = join(folder, 'towline.yaml');
    this.stateFolder = join(folder, 'state');
    mkdirSync(join(folder, 'peers.d'), {recursive: true, mode: 0o700});
    this.configure(config);
  }

  /** An empty folder for a volume's files, made when it is not there. */
  volume(name: string): string {
    const path = join(this.folder, 'volumes', name);
    mkdirSync(path, {recursive: true});
    return path;
  }

  /** Writes the configuration; `reload` makes a running agent take it up. */
  configure(settings: AgentSettings): void {
    const agent = {name: this.name, ...(this.listens ? {listen: `[::]:${PORT}`} : {}), state: this.stateFolder};
    writeFileSync(this.configFile, stringify({agent, ...settings}), {mode: 0o600});
  }

  /** Pins a peer as `join` does. */
  pin(peer: string, id: string, address: string | undefined): void {
    const file = join(this.folder, 'peers.d', `${peer}.yaml`);
    writeFileSync(file, stringify({id, ...(address === undefined ? {} : {address})}), {mode: 0o600});
  }

  /** Runs `towline ARGS` on this agent's configuration and state, in its host, to its end. */
  async command(args: readonly string[], timeoutMs = COMMAND_MS_MAX): Promise<CommandResult> {
    return this.startCommand(args).end(timeoutMs);
  }

  /** The same, to be looked at while it runs. */
  startCommand(args: readonly string[]): {child: ChildProcess; end(timeoutMs?: number): Promise<CommandResult>} {
    const startMs = performance.now();
    const child = this.host.spawn(this.#words(args), {cwd: '/', env: environment(), stdio: ['ignore', 'pipe', 'pipe']});
    const output = Promise.all([text(child.stdout!), text(child.stderr!)]);
    return {
      child,
      end: async (timeoutMs = COMMAND_MS_MAX) => {
        const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
        const [stdout, stderr] = await output.finally(() => clearTimeout(timer));
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
        const seconds = (performance.now() - startMs) / 1_000;
        return {exitCode: child.exitCode, signal: child.signalCode, stdout, stderr, seconds};
      },
    };
  }

  /** Runs a command that must succeed. @returns its stdout @throws Error with what it said */
  async must(...args: string[]): Promise<string> {
    const {exitCode, signal, stdout, stderr} = await this.command(args);
    if (exitCode === 0) return stdout;
    throw new Error(`towline ${args.join(' ')} ended with ${exitCode ?? signal}: ${stdout}${stderr}`);
  }

  /** 64 hex digits; makes the identity when there is none. */
  async id(): Promise<string> {
    const id = /\b[0-9a-f]{64}\b/.exec(await this.must('id'))?.[0];
    if (id === undefined) throw new Error(`towline id of ${this.name} printed no ID`);
    return id;
  }

  /** Starts the daemon. @returns once it answers on its control socket */
  async start(): Promise<this> {
    const log = openSync(this.logFile, 'a', 0o600);
    const [command = '', ...args] = this.host.words([...this.#wrapper, ...this.#words(['agent'])]);
    // Its log goes to a file: nothing of it waits for a busy test.
    this.#child = killAtEnd(spawn(command, args, {cwd: '/', env: environment(), stdio: ['ignore', log, log]}));
    closeSync(log);
    await this.until(
      `answers within ${START_MS_MAX} ms`,
      () =>
        this.report().then(
          () => true,
          () => false,
        ),
      START_MS_MAX,
    );
    return this;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    if (!this.isRunning) throw this.failure('does not run');
    return this.#child!.pid!;
  }

  /** Sends a signal and waits for the end; kills it when that takes too long. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<{exitCode: number | null; seconds: number}> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return {exitCode: child?.exitCode ?? null, seconds: 0};
    const startMs = performance.now();
    const ended = once(child, 'exit');
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    await ended.finally(() => clearTimeout(timer));
    return {exitCode: child.exitCode, seconds: (performance.now() - startMs) / 1_000};
  }

  async kill9(): Promise<void> {
    await this.stop('SIGKILL');
  }

  freeze(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  thaw(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  async report(): Promise<AgentReport> {
    return (await this.#ask('GET', 'report')) as AgentReport;
  }

  async volumeReport(volume: string): Promise<VolumeReport> {
    const found = (await this.report()).volumes.find(({name}) => name === volume);
    if (found === undefined) throw this.failure(`has no volume ${volume}`);
    return found;
  }

  /** How a volume's link to a peer stands. */
  async link(volume: string, peer: string): Promise<LinkReport> {
    const found = (await this.volumeReport(volume)).links.find((link) => link.peer === peer);
    if (found === undefined) throw this.failure(`has no link of ${volume} with ${peer}`);
    return found;
  }

  pause(volume: string): Promise<unknown> {
    return this.#ask('POST', 'pause', {volume});
  }

  resume(volume: string): Promise<unknown> {
    return this.#ask('POST', 'resume', {volume});
  }

  /** Waits until what was changed before is durable on the peers. */
  async flush(volume: string, timeoutMs: number): Promise<RunOutcome> {
    return (await this.#ask('POST', 'flush', {volume, timeoutMs, isRescan: false}, timeoutMs)) as RunOutcome;
  }

  /** Takes the configuration up. @returns what changed */
  async reload(): Promise<string[]> {
    return (await this.#ask('POST', 'reload', {})) as string[];
  }

  /** Resident memory now, and the most there ever was. Source: proc_pid_status(5). */
  memory(): {residentBytes: number; peakBytes: number} {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1_024;
    return {residentBytes: bytes('VmRSS'), peakBytes: bytes('VmHWM')};
  }

  /** How many descriptors it has open. */
  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  get logFile(): string {
    return join(this.folder, 'agent.log');
  }

  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
  }

  /** Waits for a condition. @throws Error with the last report and the end of the log when it does not come to it */
  async until(what: string, isTrue: () => boolean | Promise<boolean>, timeoutMs = UNTIL_MS_MAX): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!(await isTrue())) {
      if (!this.isRunning)
        throw this.failure(`ended with ${this.#child?.exitCode ?? this.#child?.signalCode}; waited for: ${what}`);
      if (performance.now() > endMs) throw await this.#failureWithReport(`${what}: not within ${timeoutMs} ms`);
      await sleep(POLL_MS);
    }
  }

  failure(what: string): Error {
    const tail = this.log().trimEnd().split('\n').slice(-LOG_TAIL_LINES);
    return new Error([`agent ${this.name}: ${what}`, ...tail].join('\n'));
  }

  async #failureWithReport(what: string): Promise<Error> {
    const report = await this.report().catch((error: unknown) => `no report: ${String(error)}`);
    return this.failure(`${what}\n${JSON.stringify(report, null, 1)}`);
  }

  #words(args: readonly string[]): string[] {
    return [NODE, this.#main, ...args, '--config', this.configFile, '--state', this.stateFolder];
  }

  async #ask(method: 'GET' | 'POST', path: string, body?: object, timeoutMs = 0): Promise<unknown> {
    const asked = request({
      socketPath: join(this.stateFolder, 'control.sock'),
      path: `/v1/${path}`,
      method,
      agent: false,
      headers: body === undefined ? {} : {'content-type': 'application/json'},
      signal: AbortSignal.timeout(timeoutMs + ANSWER_MS_MAX),
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    if (response.statusCode === 200) return json(response);
    throw new Error(`agent ${this.name} answered ${path} with ${response.statusCode}: ${await text(response)}`);
  }
}

function environment(): NodeJS.ProcessEnv {
  return {...process.env, NO_COLOR: '1'};
}
