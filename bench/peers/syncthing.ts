/**
 * Syncthing in the comparison: one instance on each host, each with a home of its own, that know each other's address
 * and nobody else's; the source's folder is `sendonly`, the target's `receiveonly`.
 *
 * It is asked over the REST interface of its unix socket, which no namespace hides.
 */
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {type IncomingMessage, request} from 'node:http';
import {once} from 'node:events';
import {join} from 'node:path';
import {json, text} from 'node:stream/consumers';
import {setTimeout as sleep} from 'node:timers/promises';
import type {Host} from '../../test/hosts/namespaces.ts';
import {must} from '../sync/filesystems.ts';
import {Daemon, type Places, type Tool, type ToolKind, Unable} from './tool.ts';

const PORT = 22_000;
const KEY = 'bench';
const POLL_MS = 100;
const WATCH_DELAY_S = 1; // whole seconds, one at least
const ANSWER_MS_MAX = 10_000;
/** Owners came with 1.21, extended attributes with 1.22. Source: its manual, syncOwnership and syncXattrs. */
const FAITHFUL_SINCE = [1, 22];
/** No discovery, no relays, no port mapping, no reports, no upgrades; the same priority as the other tools. */
const OPTIONS = {
  globalAnnounceEnabled: false,
  localAnnounceEnabled: false,
  relaysEnabled: false,
  natEnabled: false,
  urAccepted: -1,
  crashReportingEnabled: false,
  autoUpgradeIntervalH: 0,
  startBrowser: false,
  setLowPriority: false,
};

export const syncthing: ToolKind = {
  package: 'syncthing',
  program: 'syncthing',
  version: () => /v(\d\S*)/.exec(must('syncthing', '--version'))?.[1] ?? 'unknown',
  notes: () => [
    `it has \`fsWatcherDelayS\` ${WATCH_DELAY_S} (its default is 10), \`setLowPriority\` off, and fsyncs what it writes`,
    isFaithful()
      ? 'it has `syncOwnership` and `syncXattrs`'
      : `${syncthing.version()} has no \`syncOwnership\` and \`syncXattrs\`: they came with 1.21 and 1.22`,
  ],
  make: makeSyncthing,
};

function isFaithful(): boolean {
  const [major = 0, minor = 0] = syncthing.version().split('.').map(Number);
  return major > FAITHFUL_SINCE[0]! || (major === FAITHFUL_SINCE[0] && minor >= FAITHFUL_SINCE[1]!);
}

function makeSyncthing(places: Places): Tool {
  const {source, target, sourceState, targetState, here, there, record} = places;
  const from = new Instance('source', sourceState, here);
  const to = new Instance('target', targetState, there);
  const start = async (): Promise<void> => {
    await Promise.all([from.start(), to.start()]);
    await until(() => from.isConnected(to));
  };
  return {
    start: async () => {
      from.configure(to);
      to.configure(from);
      record(`syncthing serve ${Instance.FLAGS.join(' ')} --home HOME, on each host, with ${JSON.stringify(OPTIONS)}`);
      await start();
    },
    firstCopy: async (volume) => {
      const sinceMs = Date.now();
      record(`folders ${JSON.stringify({...folderOf(), type: 'sendonly'})}, and receiveonly`);
      await to.add(volume, {path: join(target, volume), type: 'receiveonly', from, to});
      await from.add(volume, {path: join(source, volume), type: 'sendonly', from, to});
      await until(() => isEqual(volume, sinceMs, {from, to}));
    },
    follow: (_, pace) => {
      if (pace === 'hasty') throw new Unable('waits a second at least');
      return Promise.resolve();
    },
    afterChange: () => Promise.resolve(),
    stop: async () => {
      await Promise.all([from.stop(), to.stop()]);
    },
    catchUp: async (volume) => {
      const sinceMs = Date.now();
      await start();
      await until(() => isEqual(volume, sinceMs, {from, to}));
    },
  };
}

interface FolderStatus {
  state: string;
  localTotalItems: number;
  globalTotalItems: number;
  needTotalItems: number;
}

/** Whether both ends have looked at a folder since then, rest, and count the same with nothing needed. */
async function isEqual(volume: string, sinceMs: number, {from, to}: {from: Instance; to: Instance}): Promise<boolean> {
  for (const instance of [from, to]) if (!(await instance.hasScanned(volume, sinceMs))) return false;
  const [sent, received] = await Promise.all([from.status(volume), to.status(volume)]);
  if (sent.state !== 'idle' || received.state !== 'idle' || received.needTotalItems > 0) return false;
  return sent.localTotalItems === received.globalTotalItems && (await from.isComplete(volume, to));
}

function folderOf() {
  const faithful = isFaithful() ? {syncOwnership: true, syncXattrs: true} : {};
  return {fsWatcherEnabled: true, fsWatcherDelayS: WATCH_DELAY_S, rescanIntervalS: 3_600, ...faithful};
}

class Instance {
  static readonly FLAGS = ['--no-browser', '--no-restart', '--no-upgrade', '--no-default-folder'];
  readonly id: string;
  readonly #name: string;
  readonly #home: string;
  readonly #host: Host;
  #daemon: Daemon | undefined;

  constructor(name: string, home: string, host: Host) {
    this.#name = name;
    this.#home = home;
    this.#host = host;
    mkdirSync(home, {recursive: true});
    must('syncthing', 'generate', '--no-default-folder', '--skip-port-probing', '--home', home);
    this.id = must('syncthing', 'serve', '--device-id', '--home', home).trim();
  }

  configure(other: Instance): void {
    const device = (instance: Instance): string =>
      `<device id="${instance.id}" name="${instance.#name}"><address>${instance.#address}</address></device>`;
    const options = Object.entries(OPTIONS).map(([name, value]) => `<${name}>${value}</${name}>`);
    const lines = [
      `<configuration version="${/configuration version="(\d+)"/.exec(this.#config())?.[1]}">`,
      device(this),
      device(other),
      `<gui enabled="true" tls="false"><address>${this.#socket}</address><apikey>${KEY}</apikey></gui>`,
      `<options><listenAddress>${this.#address}</listenAddress>${options.join('')}</options>`,
      '</configuration>',
    ];
    writeFileSync(this.#configFile, lines.join('\n'));
  }

  /** Resolves once it answers. */
  async start(): Promise<void> {
    const words = ['syncthing', 'serve', ...Instance.FLAGS, '--home', this.#home];
    const daemon = new Daemon(this.#host, words, {STNOUPGRADE: '1', HOME: this.#home});
    this.#daemon = daemon;
    await until(async () => {
      if (!daemon.isRunning) throw new Error(`syncthing ended: ${daemon.said}`);
      return this.#ask('GET', 'system/ping').then(
        () => true,
        () => false,
      );
    });
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop();
  }

  async isConnected({id}: Instance): Promise<boolean> {
    const {connections} = await this.#ask<{connections: Record<string, {connected: boolean}>}>(
      'GET',
      'system/connections',
    );
    return connections[id]?.connected === true;
  }

  async add(volume: string, {path, type, from, to}: {path: string; type: string; from: Instance; to: Instance}) {
    const devices = [from, to].map(({id}) => ({deviceID: id}));
    await this.#ask('POST', 'config/folders', {id: volume, label: volume, path, type, devices, ...folderOf()});
  }

  async hasScanned(volume: string, sinceMs: number): Promise<boolean> {
    const folders = await this.#ask<Record<string, {lastScan: string}>>('GET', 'stats/folder');
    return Date.parse(folders[volume]?.lastScan ?? '') >= Math.floor(sinceMs / 1_000) * 1_000; // it tells whole seconds
  }

  status(volume: string): Promise<FolderStatus> {
    return this.#ask('GET', `db/status?folder=${volume}`);
  }

  /** What it knows of the other's copy. */
  async isComplete(volume: string, {id}: Instance): Promise<boolean> {
    const {needBytes, needItems, needDeletes} = await this.#ask<Record<string, number>>(
      'GET',
      `db/completion?folder=${volume}&device=${id}`,
    );
    return needBytes === 0 && needItems === 0 && needDeletes === 0;
  }

  get #address(): string {
    return `tcp://${this.#host.ipv4}:${PORT}`;
  }

  get #socket(): string {
    return join(this.#home, 'gui.sock');
  }

  get #configFile(): string {
    return join(this.#home, 'config.xml');
  }

  #config(): string {
    return readFileSync(this.#configFile, 'utf8');
  }

  async #ask<T>(method: 'GET' | 'POST', path: string, body?: object): Promise<T> {
    const asked = request({
      socketPath: this.#socket,
      path: `/rest/${path}`,
      method,
      agent: false,
      headers: {'X-API-Key': KEY, ...(body === undefined ? {} : {'content-type': 'application/json'})},
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    if (response.statusCode !== 200)
      throw new Error(`syncthing answered ${path} with ${response.statusCode}: ${await text(response)}`);
    return (method === 'GET' ? await json(response) : await text(response)) as T;
  }
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await sleep(POLL_MS);
}
