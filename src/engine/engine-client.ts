/**
 * Asks one Docker or Podman engine over its socket: volumes, containers, events. It only reads.
 *
 * Not a cache: each call is a request. Invariant: names go into a path encoded, and what is found bears the name that
 * was asked for (engines also find by the beginning of an ID).
 */
import {invariant} from '../base/errors.ts';
import {
  readContainer,
  readContainerList,
  readEvent,
  readVersions,
  readVolume,
  type EngineContainer,
  type EngineEvent,
  type EngineVolume,
  type ListedContainer,
} from './answers.ts';
import {askEngine, followEngine, refusedByEngine, unusableEngine, type EngineSocket} from './engine-request.ts';

/** What is written here was tried with; an engine that no longer speaks it is asked in the oldest that it does. */
const API = '1.41';
const DEADLINE_MS = 10_000; // an engine that starts a hundred containers is slow, one that takes longer hangs
const ANSWER_BYTES_MAX = 16 * 1024 * 1024; // the list of 10,000 containers
const EVENT_BYTES_MAX = 256 * 1024; // labels of a container are in its events
const SHORT_ID_LENGTH = 12; // what engines show as an ID; shorter ones are met by chance

const EVENTS = new Set(
  `create destroy remove mount unmount start restart stop kill die died pause unpause rename prune`.split(/\s+/),
);

export interface EngineClientOptions {
  deadlineMs?: number;
}

export interface EventsOptions {
  /** Also what happened since then, as far as the engine remembers; undefined: from now. */
  sinceMs: number | undefined;
  onOpen: () => void;
  onEvent: (event: EngineEvent) => void;
  signal: AbortSignal;
}

/** Each method throws a TowlineError SYSTEM when the engine cannot be asked; `errno` is ENOENT when there is no socket. */
export class EngineClient {
  readonly at: EngineSocket;
  readonly #deadlineMs: number;
  #api: string | undefined;

  constructor(at: EngineSocket, options: EngineClientOptions = {}) {
    this.at = at;
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  }

  /** @returns undefined when there is no such volume */
  async volume(name: string): Promise<EngineVolume | undefined> {
    const answer = await this.#get(`/volumes/${encodeName(name)}`);
    const volume = answer === undefined ? undefined : readVolume(answer);
    return volume?.name === name ? volume : undefined;
  }

  /** @param name or ID, at least 12 digits of it @returns undefined when there is no such container */
  async container(name: string): Promise<EngineContainer | undefined> {
    const answer = await this.#get(`/containers/${encodeName(name)}/json`);
    if (answer === undefined) return undefined;
    const container = readContainer(answer);
    const isIt = container.name === name || (name.length >= SHORT_ID_LENGTH && container.id.startsWith(name));
    return isIt ? container : undefined;
  }

  /** All containers, also those that do not run. */
  async containers(): Promise<ListedContainer[]> {
    const path = '/containers/json?all=1';
    const listed = readContainerList(await this.#get(path));
    if (listed === undefined) throw unusableEngine(this.at, path, 'did not answer with a list of its containers');
    return listed;
  }

  /** Follows what happens to volumes and containers. Resolves when the engine ends it or `signal` is aborted. */
  async events({sinceMs, onOpen, onEvent, signal}: EventsOptions): Promise<void> {
    const filters = encodeURIComponent(JSON.stringify({type: ['volume', 'container']}));
    const since = sinceMs === undefined ? '' : `&since=${(sinceMs / 1000).toFixed(3)}`;
    const path = `/v${await this.#version()}/events?filters=${filters}${since}`;
    const onLine = (line: string): void => {
      const event = readEvent(this.#parse(path, line));
      if (event !== undefined && EVENTS.has(event.action)) onEvent(event);
    };
    const limits = {deadlineMs: this.#deadlineMs, bytesMax: EVENT_BYTES_MAX};
    try {
      await followEngine(this.at, path, {...limits, onOpen, onLine, signal});
    } finally {
      this.#api = undefined; // it may come back as another version
    }
  }

  /** @returns undefined for 404 */
  async #get(path: string): Promise<unknown> {
    const versioned = `/v${await this.#version()}${path}`;
    const answer = await this.#ask(versioned);
    if (answer.status === 404) return undefined;
    if (answer.status === 200) return this.#parse(versioned, answer.body.toString('utf8'));
    this.#api = undefined;
    throw refusedByEngine(this.at, versioned, answer);
  }

  /** The version to speak: ours, unless the engine has dropped it. */
  async #version(): Promise<string> {
    if (this.#api !== undefined) return this.#api;
    const path = '/version';
    const answer = await this.#ask(path);
    if (answer.status !== 200) throw refusedByEngine(this.at, path, answer);
    const versions = readVersions(this.#parse(path, answer.body.toString('utf8')));
    if (versions === undefined) throw unusableEngine(this.at, path, 'does not tell its API version; is it an engine?');
    if (isOlder(versions.newest, API)) {
      throw unusableEngine(this.at, path, `speaks API ${versions.newest}, too old: Towline needs ${API}; update it`);
    }
    this.#api = isOlder(API, versions.oldest) ? versions.oldest : API;
    return this.#api;
  }

  async #ask(path: string): ReturnType<typeof askEngine> {
    try {
      return await askEngine(this.at, path, {deadlineMs: this.#deadlineMs, bytesMax: ANSWER_BYTES_MAX});
    } catch (error) {
      this.#api = undefined;
      throw error;
    }
  }

  #parse(path: string, text: string): unknown {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw unusableEngine(this.at, path, `answered something else than JSON to GET ${path}; is it an engine?`);
    }
  }
}

/** Why a volume or container cannot bear a name, or undefined; the engines' own rule. */
export function engineNameFault(name: string): string | undefined {
  if (name.length > 255) return 'is longer than 255 characters';
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name) ? undefined : 'holds other characters than a-z A-Z 0-9 _ . -';
}

function encodeName(name: string): string {
  invariant(engineNameFault(name) === undefined, 'an engine was asked for an impossible name');
  return encodeURIComponent(name);
}

function isOlder(version: string, other: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [otherMajor = 0, otherMinor = 0] = other.split('.').map(Number);
  return major !== otherMajor ? major < otherMajor : minor < otherMinor;
}
