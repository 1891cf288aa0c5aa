/**
 * A TCP proxy between two agents that a test can make slow, freeze or cut: what netem and a router would do elsewhere.
 *
 * It is a process of its own, in a host (namespaces.ts) or on this machine, so that a busy test delays nothing in it.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import {killAtEnd} from './clean-up.ts';
import type {Host} from './namespaces.ts';
import type {ProxyReport, ProxyRequest, ProxySettings} from './proxy-process.ts';

const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');
const PROGRAM = join(import.meta.dirname, 'proxy-process.ts');
const ANSWER_MS_MAX = 10_000;

export interface ProxyOptions extends Partial<ProxySettings> {
  /** Where connections go. */
  to: {host: string; port: number};
  /** Where it runs and listens; undefined: on this machine's loopback. */
  host?: Host;
  port?: number;
}

/** Starts a proxy. @returns it, listening */
export async function startProxy({to, host, port = 0, delayMs = 0, bytesPerSecond = 0}: ProxyOptions): Promise<Proxy> {
  const stdio: ['ignore', 'inherit', 'inherit', 'ipc'] = ['ignore', 'inherit', 'inherit', 'ipc'];
  const child = host === undefined ? killAtEnd(spawn(NODE, [PROGRAM], {stdio})) : host.spawn([NODE, PROGRAM], {stdio});
  const proxy = new Proxy(child, host?.ipv4 ?? '127.0.0.1', {delayMs, bytesPerSecond});
  await proxy.listen(to, host === undefined ? '127.0.0.1' : '::', port);
  return proxy;
}

class Proxy {
  /** What to dial from elsewhere. */
  readonly host: string;
  readonly #child: ChildProcess;
  #settings: ProxySettings;
  #port = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(child: ChildProcess, host: string, settings: ProxySettings) {
    this.#child = child;
    this.host = host;
    this.#settings = settings;
  }

  get port(): number {
    return this.#port;
  }

  async listen(to: {host: string; port: number}, host: string, port: number): Promise<void> {
    this.#port = (await this.#ask({do: 'listen', host, port, to, settings: this.#settings})).port;
  }

  /** Bytes that come from now on are handed on as these say. */
  async set(settings: Partial<ProxySettings>): Promise<void> {
    this.#settings = {...this.#settings, ...settings};
    await this.#ask({do: 'set', settings: this.#settings});
  }

  /** Resets every connection on both sides. */
  async cut(): Promise<void> {
    await this.#ask({do: 'cut'});
  }

  /**
   * Cuts the next new connection once it has handed on so many bytes one way: their receiver reads them and then an
   * end, who sent them is reset.
   */
  async cutNextAfter(way: 'forward' | 'back', bytes: number): Promise<void> {
    await this.#ask({do: 'cut-next-after', way, bytes});
  }

  /** A black hole: connections stay, new ones are taken, nothing is handed on until `thaw`, which loses nothing. */
  async freeze(): Promise<void> {
    await this.#ask({do: 'freeze'});
  }

  async thaw(): Promise<void> {
    await this.#ask({do: 'thaw'});
  }

  /** The listening side loses its connections; the side that dialled is not told. */
  async halfOpen(): Promise<void> {
    await this.#ask({do: 'half-open'});
  }

  /** New connections are reset at once, until `accept`. */
  async refuse(): Promise<void> {
    await this.#ask({do: 'refuse'});
  }

  async accept(): Promise<void> {
    await this.#ask({do: 'accept'});
  }

  async report(): Promise<ProxyReport> {
    return this.#ask({do: 'count'});
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  /** One request at a time: answers carry no name. */
  #ask(request: ProxyRequest): Promise<ProxyReport> {
    const answer = this.#last.then(() => this.#exchange(request));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #exchange(request: ProxyRequest): Promise<ProxyReport> {
    const answered = once(this.#child, 'message', {signal: AbortSignal.timeout(ANSWER_MS_MAX)});
    this.#child.send(request);
    const [report] = (await answered) as [ProxyReport];
    return report;
  }
}

export type {Proxy};
