/**
 * One story of a pair: both ends at work while processes change the source, somebody meddles with the target, jobs fail,
 * connections are cut and ends are killed; then quiet, until both are said to be equal.
 */
import {mkdirSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {TowlineError} from '../../../src/base/errors.ts';
import {SourceEnd, TargetEnd} from './ends.ts';
import {Users} from './users.ts';
import {World} from './world.ts';

const EVENTS = 600;
const QUIET_EVENTS_MAX = 8_000;
const ERRNOS = ['ENOSPC', 'EIO', 'EACCES'] as const;

/** What is done behind the back of both ends after each job of the target, to be found out. */
export type Plant = (trash: string) => void;

export interface Told {
  trace: readonly string[];
  /** What was wrong, undefined for nothing. */
  fault: string | undefined;
  kills: number;
  cuts: number;
  faults: number;
  changes: number;
  foreign: number;
}

export async function tellStory(seed: number, plant?: Plant): Promise<Told> {
  const folder = mkdtempSync(join(tmpdir(), 'towline-pairs-'));
  const story = new Story(seed, folder, plant);
  try {
    return await story.tell();
  } finally {
    story.end();
    rmSync(folder, {recursive: true});
  }
}

class Story {
  readonly #world: World;
  readonly #places: {source: string; target: string};
  readonly #trash: string;
  readonly #users: Users;
  readonly #plant: Plant | undefined;
  #source: SourceEnd;
  #target: TargetEnd;
  #fault: string | undefined;
  #hasArrived = false;
  readonly #counts = {kills: 0, cuts: 0, faults: 0};

  constructor(seed: number, folder: string, plant: Plant | undefined) {
    this.#world = new World(seed);
    this.#plant = plant;
    this.#places = {source: join(folder, 'source'), target: join(folder, 'target')};
    this.#trash = join(this.#places.target, 'trash');
    const roots = {source: join(this.#places.source, 'root'), target: join(this.#places.target, 'root')};
    for (const root of Object.values(roots)) mkdirSync(root, {recursive: true});
    this.#target = this.#newTarget();
    this.#users = new Users(this.#world, roots);
    this.#users.meddle(); // what was there before the link
    this.#source = this.#newSource();
  }

  async tell(): Promise<Told> {
    for (let left = EVENTS; left > 0 && !this.#isWrong(); left--) {
      await this.#step();
      this.#disturb();
    }
    const asked = this.#source.ask();
    this.#source.cut();
    for (let left = QUIET_EVENTS_MAX; this.#source.provedSeq < asked && !this.#isWrong(); left--) {
      await this.#step();
      if (left === 0) this.#fault ??= 'it does not come to rest';
    }
    this.#fault ??= this.#users.faultAtRest(this.#trash);
    const {changes, foreignCount: foreign} = this.#users;
    return {trace: this.#world.trace, fault: this.#fault, ...this.#counts, changes, foreign};
  }

  end(): void {
    this.#source.kill();
    this.#target.kill();
  }

  #isWrong(): boolean {
    return this.#fault !== undefined;
  }

  async #step(): Promise<void> {
    const hasHappened = await this.#world.step();
    if (!hasHappened) this.#fault ??= 'everything waits for something else';
    this.#hasArrived ||= this.#source.provedSeq >= 0;
    this.#fault ??= this.#users.faultNow(this.#hasArrived);
  }

  #disturb(): void {
    const {random} = this.#world;
    if (random(12) === 0) this.#users.work();
    if (random(40) === 0) this.#users.meddle();
    if (random(120) === 0) this.#cut();
    if (random(150) === 0) {
      this.#counts.faults++;
      const errno = ERRNOS[random(ERRNOS.length)] as string;
      const error = new TowlineError('SYSTEM', `a job failed: ${errno}`, {syscall: 'write', errno, path: ''});
      (random(2) === 0 ? this.#source : this.#target).fault = error;
    }
    if (random(200) === 0) {
      this.#counts.kills++;
      this.#source.kill();
      this.#source = this.#newSource();
    }
    if (random(200) === 0) {
      this.#counts.kills++;
      this.#target.kill();
      this.#target = this.#newTarget();
      this.#cut();
    }
  }

  #cut(): void {
    this.#counts.cuts++;
    this.#source.cut();
  }

  #newTarget(): TargetEnd {
    const end = new TargetEnd(this.#world, this.#places.target);
    end.onJob = () => this.#plant?.(this.#trash);
    return end;
  }

  #newSource(): SourceEnd {
    const end = new SourceEnd(this.#world, this.#places.source, () => {
      const connection = this.#world.connect();
      void this.#target.serve(connection);
      return connection;
    });
    end.run().catch((error: Error) => (this.#fault ??= error.stack ?? error.message));
    return end;
  }
}
