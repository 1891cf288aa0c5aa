/**
 * Knows what one engine's containers have mounted, fresh enough to ask before every batch.
 *
 * What the engine tells of a container's mounts never changes, only whether it runs: each is looked at once, the list of
 * all again and again. Where its first process can be seen, the kernel is asked instead of believing the engine.
 * Invariant: once the engine has answered, its last answer holds until the next one; it is never taken for "nothing".
 */
import {open, type FileHandle} from 'node:fs/promises';
import type {Clock} from '../base/clock.ts';
import {isTowlineError, type TowlineError} from '../base/errors.ts';
import {fromText, type RelPath} from '../model/path.ts';
import type {ListedContainer} from './answers.ts';
import type {EngineClient} from './engine-client.ts';
import {mountedBelow, parseMountinfo, placeOf, type KernelMount} from './mountinfo.ts';
import {protectedPaths, type MountedContainer} from './protected-paths.ts';
import type {RealPaths} from './real-path.ts';

/**
 * In these states nothing of a container is mounted: it has not been started, or has ended. In all others, also those
 * that are not known here, its mounts are in place, or about to be again (`restarting`).
 */
const UNMOUNTED_STATES = new Set(['created', 'configured', 'exited', 'stopped', 'dead', 'removing']);
const AGE_MS_MAX = 1_000;
const RETRY_MS = 5_000; // an engine that does not answer costs a deadline: not before every batch
const LOOKUPS_MAX = 4; // at once
const PROC_BYTES_MAX = 4 * 1024 * 1024; // some 20,000 mounts; beyond, what the engine tells must do
const PART_BYTES = 64 * 1024;

export interface ContainerMountsOptions {
  ageMsMax?: number;
}

export interface ContainerMountsParts {
  client: EngineClient;
  clock: Clock;
  realPaths: RealPaths;
}

interface Inspected extends MountedContainer {
  pid: number;
  /** Whether its first process could be seen. */
  wasSeen: boolean;
}

interface LookedAt extends Inspected {
  /** What its first process has mounted; undefined where that cannot be seen. */
  kernelMounts: readonly KernelMount[] | undefined;
}

export class ContainerMounts {
  readonly #ageMsMax: number;
  readonly #parts: ContainerMountsParts;
  /** By ID. */
  readonly #inspected = new Map<string, Inspected>();
  #known: readonly LookedAt[] | undefined;
  #knownUntilMs = 0;
  /** Value of `#happenings` when it was asked for. */
  #knownSince = 0;
  /** What was worked out from one answer. */
  #found: {of: unknown; byRoot: Map<string, RelPath[]>} = {of: undefined, byRoot: new Map()};
  #isAnswering = false;
  /** Counts what has happened; an answer that was asked for before it is not the newest. */
  #happenings = 0;
  #asking: {sinceHappenings: number; answer: Promise<readonly LookedAt[]>} | undefined;

  constructor(options: ContainerMountsOptions, parts: ContainerMountsParts) {
    this.#ageMsMax = options.ageMsMax ?? AGE_MS_MAX;
    this.#parts = parts;
  }

  /**
   * Something happened to a container, or to the engine: the next question goes to the engine.
   * @param id of a container that was started: what its links lead to may be another than before
   */
  invalidate(id?: string): void {
    this.#happenings++;
    this.#knownUntilMs = 0;
    if (id !== undefined) this.#inspected.delete(id);
  }

  /** Whether the engine has answered when it was asked last. */
  get isAnswering(): boolean {
    return this.#isAnswering;
  }

  /**
   * Paths below a root that a container has something mounted on: removing or replacing them, or a folder above them,
   * takes it away from the container.
   * @param rootPath absolute host path, as text
   * @throws TowlineError SYSTEM when the engine has never answered and does not now, though there should be one
   */
  async protectedBelow(rootPath: string): Promise<RelPath[]> {
    const containers = await this.#containers();
    if (containers.length === 0) return [];
    if (this.#found.of !== containers) this.#found = {of: containers, byRoot: new Map()};
    const {byRoot} = this.#found;
    const paths = byRoot.get(rootPath) ?? (await this.#find(rootPath, containers));
    byRoot.set(rootPath, paths);
    return paths;
  }

  async #find(rootPath: string, containers: readonly LookedAt[]): Promise<RelPath[]> {
    const path = await this.#parts.realPaths.resolve(rootPath);
    const place = placeOf(fromText(path), parseMountinfo((await readProc('self', 'mountinfo')) ?? ''));
    const found = containers.flatMap((container) =>
      place === undefined || container.kernelMounts === undefined
        ? protectedPaths(path, [container])
        : mountedBelow(place, container.kernelMounts),
    );
    return [...new Set(found)].sort();
  }

  async #containers(): Promise<readonly LookedAt[]> {
    if (this.#parts.clock.monotonicMs() < this.#knownUntilMs) return this.#known ?? [];
    if (this.#asking?.sinceHappenings !== this.#happenings) {
      const asking = {sinceHappenings: this.#happenings, answer: this.#ask()};
      this.#asking = asking;
      const end = (): void => {
        if (this.#asking === asking) this.#asking = undefined;
      };
      asking.answer.then(end, end);
    }
    return this.#asking.answer;
  }

  async #ask(): Promise<readonly LookedAt[]> {
    const {client, clock} = this.#parts;
    const askedMs = clock.monotonicMs();
    const sinceHappenings = this.#happenings;
    const keepUntil = (ms: number): void => {
      if (sinceHappenings === this.#happenings) this.#knownUntilMs = ms;
    };
    try {
      const listed = await client.containers();
      const mounted = await this.#lookAt(listed);
      this.#isAnswering = true;
      if (sinceHappenings >= this.#knownSince) {
        this.#known = mounted;
        this.#knownSince = sinceHappenings;
      }
      keepUntil(askedMs + this.#ageMsMax);
      return mounted;
    } catch (error) {
      this.#isAnswering = false;
      if (!isTowlineError(error)) throw error;
      // Nobody at the socket is learnt at once: asked again before each batch, or what an engine that comes back starts
      // right away would be overlooked.
      if (this.#known !== undefined) {
        if (!isUnreachable(error)) keepUntil(clock.monotonicMs() + RETRY_MS);
        return this.#known;
      }
      if (!isNoEngine(error, client)) throw error;
      return [];
    }
  }

  async #lookAt(listed: readonly ListedContainer[]): Promise<LookedAt[]> {
    const mounted = listed.filter(({state}) => !UNMOUNTED_STATES.has(state));
    const ids = new Set(mounted.map(({id}) => id));
    for (const id of this.#inspected.keys()) if (!ids.has(id)) this.#inspected.delete(id);
    const found: LookedAt[] = [];
    const left = ids.values();
    const lookOn = async (): Promise<void> => {
      for (const id of left) {
        const container = await this.#look(id);
        if (container !== undefined) found.push(container);
      }
    };
    await Promise.all(Array.from({length: LOOKUPS_MAX}, lookOn));
    return found;
  }

  /** @returns undefined when it was removed meanwhile */
  async #look(id: string): Promise<LookedAt | undefined> {
    const container = this.#inspected.get(id) ?? (await this.#inspect(id));
    if (container === undefined) return undefined;
    const kernelMounts = await mountsOfContainer(id, container.pid);
    if (kernelMounts === undefined && container.wasSeen) {
      // Without its process it has ended, or runs again as another one.
      this.#inspected.delete(id);
      return this.#look(id);
    }
    this.#inspected.set(id, {...container, wasSeen: kernelMounts !== undefined});
    return {...container, kernelMounts};
  }

  async #inspect(id: string): Promise<Inspected | undefined> {
    const {client, realPaths} = this.#parts;
    const container = await client.container(id);
    if (container === undefined) return undefined;
    const mounts = container.mounts.map(async ({source, subpath, destination}) => {
      const path = source === '' || subpath === '' ? source : `${source}/${subpath}`;
      return {source: path === '' ? '' : await realPaths.resolve(path), destination};
    });
    return {mounts: await Promise.all(mounts), pid: container.pid, wasSeen: false};
  }
}

/**
 * Only of a process that bears the container's ID: the number may be another's by now, or be none of this PID namespace.
 * @returns undefined where it cannot be seen
 */
async function mountsOfContainer(id: string, pid: number): Promise<KernelMount[] | undefined> {
  if (pid === 0) return undefined;
  const text = await readProc(pid, 'mountinfo');
  const cgroup = await readProc(pid, 'cgroup');
  return text !== undefined && cgroup?.includes(id) === true ? parseMountinfo(text) : undefined;
}

/** @returns the file as a byte string; undefined when it cannot be read, or is too large */
async function readProc(process: number | 'self', name: string): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let file: FileHandle | undefined;
  try {
    file = await open(`/proc/${process}/${name}`);
    for (let sizeBytes = 0; sizeBytes <= PROC_BYTES_MAX;) {
      const {bytesRead, buffer} = await file.read(Buffer.allocUnsafe(PART_BYTES), 0, PART_BYTES);
      if (bytesRead === 0) return Buffer.concat(parts).toString('latin1');
      parts.push(buffer.subarray(0, bytesRead));
      sizeBytes += bytesRead;
    }
    return undefined;
  } catch {
    return undefined; // no such process any more, or not for this user
  } finally {
    await file?.close();
  }
}

/** Nobody answers there. */
function isUnreachable(error: TowlineError): boolean {
  return ['ENOENT', 'ECONNREFUSED', 'EACCES'].includes((error as TowlineError<'SYSTEM'>).details.errno);
}

/** Nobody named it, and nobody is there: it is no engine that is down but none at all. */
function isNoEngine(error: TowlineError, {at}: EngineClient): boolean {
  const errno = (error as TowlineError<'SYSTEM'>).details.errno;
  return errno === 'ENOENT' || (!at.isConfigured && (errno === 'ECONNREFUSED' || errno === 'EACCES'));
}
