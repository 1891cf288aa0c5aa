/**
 * Both ends of a link as the program puts them together, over real folders, with their workers' jobs done in this thread.
 * An end can be killed at any moment: what it had in memory is gone, what it had committed is found again.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {applyHandlers} from '../../../src/apply/apply-jobs.ts';
import {Applier} from '../../../src/apply/applier.ts';
import type {Clock} from '../../../src/base/clock.ts';
import {isTowlineError, type TowlineError} from '../../../src/base/errors.ts';
import type {JobHandlers, JobMap, JobRunner, RunOptions} from '../../../src/base/jobs.ts';
import {signatureStore} from '../../../src/daemon/signature-store.ts';
import {entryStore, sourceState} from '../../../src/daemon/source-state.ts';
import type {VolumeJobs} from '../../../src/daemon/volume-jobs.ts';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {statFd} from '../../../src/linux/stat.ts';
import type {RelPath} from '../../../src/model/path.ts';
import {zeroStats} from '../../../src/model/status.ts';
import {PLAIN_VIEW, type View} from '../../../src/model/view.ts';
import {NO_DELETE_LIMITS} from '../../../src/reconcile/delete-guard.ts';
import {scanHandlers} from '../../../src/scan/scan-tree.ts';
import {Scanner} from '../../../src/scan/scanner.ts';
import {moveSteps} from '../../../src/session/change-steps.ts';
import {Session} from '../../../src/session/session.ts';
import {SourceLink} from '../../../src/session/source-link.ts';
import {TargetLink} from '../../../src/session/target-link.ts';
import {openJournalStore, type JournalStore} from '../../../src/state/journal-store.ts';
import {openVolumeStore, type VolumeStore} from '../../../src/state/volume-store.ts';
import {readHandlers} from '../../../src/volume/read-files.ts';
import {transferHandlers} from '../../../src/volume/read-transfer.ts';
import type {Connection, World} from './world.ts';

const ROUNDS_MAX = 6;
const REST_MS = 200;
const RETRY_MS = 100;
const BOOT = {bootId: 'boot'};

/** What both ends have: a root, a state that outlives them, and jobs that end when they do. */
abstract class End {
  readonly world: World;
  readonly side: 'source' | 'target';
  readonly folder: string;
  readonly store: VolumeStore;
  readonly jobs: JobRunner<VolumeJobs>;
  readonly #closing: (() => void)[] = [];
  isDead = false;
  /** Time as this end feels it: it stops with the end. */
  readonly clock: Clock;
  /** The next job fails like this. */
  fault: TowlineError | undefined;
  /** Called after each job, with its kind. */
  onJob: (kind: string) => void = () => undefined;

  constructor(world: World, side: 'source' | 'target', folder: string) {
    this.world = world;
    this.side = side;
    this.folder = folder;
    this.clock = {
      nowMs: () => world.nowMs(),
      monotonicMs: () => world.monotonicMs(),
      sleep: async (delayMs, signal) => {
        await world.sleep(delayMs, signal);
        if (this.isDead) await new Promise<never>(() => undefined);
      },
    };
    const [root, state, staging, trash] = ['root', 'state', 'staging', 'trash'].map((name) => {
      mkdirSync(join(folder, name), {recursive: true, mode: 0o700});
      return join(folder, name);
    }) as [string, string, string, string];
    this.store = openVolumeStore({place: {folder: state}, side, ...BOOT, isDurable: false});
    const [fd, stagingFd, trashFd] = [root, staging, trash].map(openDirPath) as [number, number, number];
    const {mountId} = statFd(fd);
    const withRoot = <T>(job: (root: {fd: number; mountId: number}) => T): T => job({fd, mountId});
    const read = transferHandlers(withRoot);
    const applied = applyHandlers((job) => job({fd, mountId}, {stagingFd, trashFd, reserve: 0}));
    this.#closing.push(
      () => read.close(),
      () => applied.close(),
      () => [fd, stagingFd, trashFd].forEach(closeFd),
    );
    this.jobs = this.#runner<VolumeJobs>({
      ...scanHandlers(withRoot),
      ...readHandlers(withRoot),
      ...read.handlers,
      ...applied.handlers,
    });
  }

  #runner<J extends JobMap>(handlers: JobHandlers<J>): JobRunner<J> {
    return {
      run: async <K extends keyof J & string>(kind: K, input: J[K]['in'], options?: RunOptions<J[K]['part']>) => {
        await this.clock.sleep(this.world.delayMs());
        const {fault} = this;
        this.fault = undefined;
        if (fault !== undefined) {
          this.world.tell(`${this.side}: ${kind} fails`);
          throw fault;
        }
        const parts: J[K]['part'][] = [];
        const context = {
          emit: (part: J[K]['part']) => void parts.push(part),
          transfer: () => undefined,
          isCancelled: () => false,
        };
        const output = handlers[kind](input, context);
        this.onJob(kind);
        for (const part of parts) await options?.onPart?.(part);
        return output;
      },
    };
  }

  /** As a kill: nothing is written, told or closed in peace. */
  kill(): void {
    this.world.tell(`${this.side} is killed`);
    this.isDead = true;
    this.store.abandon();
    for (const close of this.#closing) close();
  }
}

export class TargetEnd extends End {
  readonly journal: JournalStore;
  #link: TargetLink | undefined;
  #session: Session | undefined;
  #connection: Connection | undefined;

  constructor(world: World, folder: string) {
    super(world, 'target', folder);
    this.journal = openJournalStore({place: {folder: join(folder, 'state')}, ...BOOT});
  }

  /** A newer connection replaces the one before. */
  async serve(connection: Connection): Promise<void> {
    this.#connection = connection;
    this.#session?.close('replaced by a newer connection');
    const session = new Session({name: 'target'}, {channel: connection.target, clock: this.clock});
    const before = this.#link;
    this.#session = session;
    this.#link = new TargetLink(
      {
        volume: 'v',
        holding: {limits: PLAIN_VIEW, causes: {}, owner: {uid: 0, gid: 0}},
        deleteLimits: NO_DELETE_LIMITS,
      },
      {
        session,
        jobs: this.jobs,
        tree: this.store,
        clock: this.clock,
        open: async (_, view) => {
          await before?.close();
          return this.#prepare(view);
        },
        onProblem: (error) => this.#note(error),
      },
    );
    await session.ready().catch(() => undefined);
  }

  async #prepare(view: View): Promise<Applier> {
    const {store, journal, jobs, clock, world} = this;
    store.setView(view);
    const options = {isDurable: false, reserved: [], view, agent: '00000000000000aa'};
    const applier = new Applier(options, {jobs, store, journal, clock});
    const {batches} = await applier.recover();
    if (batches > 0) world.tell(`target completes ${batches} batches`);
    const rules = {ignore: [], reserved: [], seed: store.hashSeed};
    await new Scanner({agent: '00000000000000bb', rules}, {store: entryStore(store), jobs}).scan();
    return applier;
  }

  #note(error: unknown): void {
    this.world.tell(`target: ${isTowlineError(error) ? error.code : String(error)}`);
    if (!isTowlineError(error) || error.code === 'BUG') throw error as Error;
  }

  override kill(): void {
    super.kill();
    this.journal.abandon();
    this.#connection?.target.die();
  }
}

export class SourceEnd extends End {
  readonly #connect: () => Connection;
  readonly #scanner: Scanner;
  #connection: Connection | undefined;
  #startedSeq = 0;
  /** The number of the last connection that was proved to be equal. */
  provedSeq = -1;

  constructor(world: World, folder: string, connect: () => Connection) {
    super(world, 'source', folder);
    this.#connect = connect;
    const rules = {ignore: [], reserved: [], seed: this.store.hashSeed};
    this.#scanner = new Scanner({agent: '00000000000000aa', rules}, {store: entryStore(this.store), jobs: this.jobs});
  }

  /** The connections from now on have this number: when one is opened the target looks at its tree. */
  ask(): number {
    return ++this.#startedSeq;
  }

  /** One connection after the other, until it is killed or stopped. */
  async run(): Promise<void> {
    while (!this.isDead) {
      try {
        await this.#runLink();
      } catch (error) {
        if (this.isDead) return;
        const code = isTowlineError(error) ? error.code : 'BUG';
        this.world.tell(`source: ${code}`);
        if (!['PEER_LOST', 'SYSTEM', 'CANCELLED', 'REFUSED'].includes(code)) throw error;
      }
      await this.clock.sleep(RETRY_MS);
    }
  }

  async #runLink(): Promise<void> {
    const connection = (this.#connection = this.#connect());
    const session = new Session({name: 'source'}, {channel: connection.source, clock: this.clock});
    const seq = this.#startedSeq;
    try {
      await session.ready();
      const link = this.#newLink(session);
      await link.open();
      while (session.isOpen) {
        if (await this.#catchUp(link)) this.provedSeq = seq;
        await Promise.race([this.clock.sleep(REST_MS), session.closed]);
      }
    } finally {
      session.close('done');
    }
  }

  /** As a single run does it: scan, renames, then compare until nothing is left. */
  async #catchUp(link: SourceLink): Promise<boolean> {
    const state = sourceState(this.store);
    const sinceSeq = this.store.seq();
    const scanned = await this.#scanner.scan();
    this.store.flush();
    const source = {entryAt: (path: RelPath) => state.entryAt(path), view: link.view};
    for (const step of moveSteps(scanned, source, sinceSeq)) await link.sender.add(step);
    await link.sender.flush();
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const cut = state.hasUnread() ? undefined : await link.cut();
      this.world.tell(`source: ${cut === undefined ? 'unread' : cut.isEqual ? 'equal' : 'unequal'}`);
      if (cut?.isEqual === true) return true;
      const sent = cut?.isTreeEqual === true ? await link.repairLinks() : (await link.catchUp()).steps;
      if (sent === 0 && cut !== undefined) return false;
    }
    return false;
  }

  #newLink(session: Session): SourceLink {
    const options = {
      link: 1,
      volume: 'v',
      view: PLAIN_VIEW,
      isDryRun: false,
      isDurable: false,
      isQuick: false,
      deleteLimits: NO_DELETE_LIMITS,
      confirmedDeletes: 0,
    };
    return new SourceLink(options, {
      session,
      jobs: this.jobs,
      state: sourceState(this.store),
      clock: this.clock,
      stats: zeroStats(),
      seed: this.store.hashSeed,
      signatures: signatureStore(this.store),
      events: {
        onApplied: () => undefined,
        onFailed: (path, code, _, side) => this.world.tell(`${side}: ${path} ${code}`),
        onCompared: () => undefined,
      },
    });
  }

  cut(): void {
    this.world.tell('the connection is cut');
    this.#connection?.cut(this.world);
  }

  override kill(): void {
    super.kill();
    this.#connection?.source.die();
    const lost = this.#connection;
    this.world.at(this.world.random(50), () => lost?.target.lose()); // its kernel says so, at some time
  }
}
