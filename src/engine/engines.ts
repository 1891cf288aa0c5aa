/**
 * The container engines of this host as the daemon uses them: where a volume lies, what must not be removed from under a
 * container, and what changed.
 *
 * Nothing is done before something is asked: without a container's address and without an engine there is no connection
 * and no timer. An engine is followed from its first answer on, and for good once an address needs it.
 */
import type {Clock} from '../base/clock.ts';
import {TowlineError} from '../base/errors.ts';
import type {Address, EngineName} from '../model/address.ts';
import type {RelPath} from '../model/path.ts';
import {ContainerMounts} from './container-mounts.ts';
import {EngineClient} from './engine-client.ts';
import {EngineEvents} from './engine-events.ts';
import type {EngineSocket} from './engine-request.ts';
import {findRoot, type FoundRoot} from './find-root.ts';
import {RealPaths} from './real-path.ts';

/** A hint: what it tells of is looked up afresh. */
export type EngineChange =
  /** Its events cannot be followed (any more), for one. */
  | {kind: 'gone'; engine: EngineName; reason: string}
  /** Anything may have changed. */
  | {kind: 'back'; engine: EngineName}
  /** `action` as the engine calls it: create, mount, unmount, destroy (Podman: remove) … */
  | {kind: 'volume'; engine: EngineName; volume: string; action: string}
  /** create, start, die (Podman: died), pause, destroy (Podman: remove) … */
  | {kind: 'container'; engine: EngineName; container: string; id: string; action: string};

export interface Engines {
  /**
   * Asks afresh each time.
   * @throws TowlineError ROOT_MISSING when there is no such volume, container or mount; SYSTEM when the engine cannot be
   *   asked; USAGE for what cannot be synchronised (yet)
   */
  findRoot(address: Address): Promise<FoundRoot>;
  /**
   * Paths below a root that a container has something mounted on, by the engines' answers of the last second.
   * @param rootPath absolute host path, as text
   * @throws TowlineError SYSTEM when a configured engine has never answered and does not now
   */
  protectedBelow(rootPath: string): Promise<RelPath[]>;
  /** @returns ends it */
  onChange(listener: (change: EngineChange) => void): () => void;
  close(): void;
}

export function openEngines(configs: readonly EngineSocket[], parts: {clock: Clock}): Engines {
  return new OpenEngines(configs, parts);
}

interface OneEngine {
  client: EngineClient;
  mounts: ContainerMounts;
  events: EngineEvents;
  /** Whether an address needs it: then its coming back is waited for. */
  isNeeded: boolean;
}

class OpenEngines implements Engines {
  readonly #engines: OneEngine[];
  readonly #listeners = new Set<(change: EngineChange) => void>();
  #isClosed = false;

  constructor(configs: readonly EngineSocket[], {clock}: {clock: Clock}) {
    const realPaths = new RealPaths({clock});
    this.#engines = configs.map((config) => this.#open(new EngineClient(config), {clock, realPaths}));
  }

  async findRoot(address: Address): Promise<FoundRoot> {
    if (address.kind !== 'path') {
      const engine = this.#named(address.engine);
      engine.isNeeded = true;
      this.#follow(engine);
    }
    return findRoot(address, {clientOf: (name) => this.#named(name).client});
  }

  async protectedBelow(rootPath: string): Promise<RelPath[]> {
    const lists = await Promise.all(
      this.#engines.map(async (engine) => {
        // A container that was started since the last answer is told of by events alone.
        if (!engine.events.isOpen && engine.mounts.isAnswering) engine.mounts.invalidate();
        const paths = await engine.mounts.protectedBelow(rootPath);
        if (engine.mounts.isAnswering) this.#follow(engine);
        return paths;
      }),
    );
    return [...new Set(lists.flat())].sort();
  }

  onChange(listener: (change: EngineChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#isClosed = true;
    for (const {events} of this.#engines) events.close();
    this.#listeners.clear();
  }

  #open(client: EngineClient, {clock, realPaths}: {clock: Clock; realPaths: RealPaths}): OneEngine {
    const {engine} = client.at;
    const mounts = new ContainerMounts({}, {client, clock, realPaths});
    const tell = (change: EngineChange): void => {
      mounts.invalidate(change.kind === 'container' ? change.id : undefined);
      for (const listener of this.#listeners) listener(change);
    };
    const one: OneEngine = {
      client,
      mounts,
      isNeeded: false,
      events: new EngineEvents({
        client,
        clock,
        isWanted: () => one.isNeeded,
        onGone: (reason) => tell({kind: 'gone', engine, reason}),
        onBack: () => tell({kind: 'back', engine}),
        onEvent: ({kind, name, id, action}) =>
          tell(kind === 'volume' ? {kind, engine, volume: name, action} : {kind, engine, container: name, id, action}),
      }),
    };
    return one;
  }

  #follow({events}: OneEngine): void {
    if (!this.#isClosed) events.start();
  }

  #named(name: EngineName): OneEngine {
    const engine = this.#engines.find(({client}) => client.at.engine === name);
    if (engine !== undefined) return engine;
    const hint = `name its socket in the configuration under engines`;
    throw new TowlineError('USAGE', `no ${name} engine is known; ${hint}`, {hint});
  }
}
