/**
 * One random history of one volume: a tree on the source, perhaps something else on the target already, rounds of
 * changes on the source and of others on the target; then quiet, and the questions what both sides are and what was lost.
 *
 * Everything that is done comes from the seed; what it meets on the target is a matter of time. Of agents and faults it
 * knows nothing: the lab plays them meanwhile.
 */
import {createHash} from 'node:crypto';
import {execFile} from 'node:child_process';
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {promisify} from 'node:util';
import {differencesOf} from '../hosts/agents.ts';
import {judge} from '../judge/judge.ts';
import {NASTY_KINDS} from '../nasty/nasty.ts';
import {changeRandomly, makeRandomTree, Random} from '../sync/random-tree.ts';
import {digestsBelow, Foreign, latin1PathsBelow} from './foreign.ts';

export const ROUNDS_MAX = 3;
const STEPS_MAX = 4;
const CHANGES_MAX = 12;
const FOREIGN_MAX = 3;
const PAUSE_MS_MAX = 150;
const QUIET_MS_MAX = 120_000; // what the same path is repaired for is asked for once a minute
const LOOK_EVERY_MS = 150;
const DIFFERENCES_SHOWN = 20;
const NASTY = join(import.meta.dirname, '../nasty/nasty.py');
const run = promisify(execFile);

export interface HistoryFolders {
  source: string;
  target: string;
  /** Empty, on the target's filesystem, outside of the volume. */
  aside: string;
}

/** What the agents say of the volume at the moment. */
export interface VolumeState {
  isInSync: boolean;
  /** For the message of a failure. */
  told: () => Promise<string>;
  staging: string | undefined;
  trash: string | undefined;
}

export class History {
  readonly seed: number;
  readonly name: string;
  readonly rounds: number;
  /** What was done, in order, and what went wrong. */
  readonly lines: string[] = [];
  readonly #random: Random;
  readonly #folders: HistoryFolders;
  readonly #foreign: Foreign;
  readonly #isNasty: boolean;
  #step = 0;

  constructor(seed: number, folders: HistoryFolders) {
    this.seed = seed;
    this.name = `history-${seed}`;
    this.#folders = folders;
    this.#random = new Random(seed * 7_919);
    this.rounds = 1 + this.#random.below(ROUNDS_MAX);
    this.#isNasty = seed % 2 === 0;
    this.#foreign = new Foreign({root: folders.target, aside: folders.aside, seed});
  }

  /** Versions of others that must not be lost, all that there ever were. */
  get versionCount(): number {
    return this.#foreign.versionCount;
  }

  /** A digest of all that was asked for: the same for the same seed. What was met on the target is not in it. */
  get trace(): string {
    const asked = this.lines.map((line) => line.replace(/ \(not there\)$/, ''));
    return createHash('sha256').update(asked.join('\n')).digest('hex');
  }

  /** Makes the tree, and now and then a copy that others have changed. */
  async prepare(): Promise<void> {
    const {source, target} = this.#folders;
    if (this.#isNasty) await this.#nasty('make', source, String(this.seed), NASTY_KINDS.join(','));
    else makeRandomTree(source, 20 + this.#random.below(60), this.#random);
    if (this.#random.below(3) > 0) return;
    this.lines.push('a copy was there before');
    await run('cp', ['-a', `${source}/.`, target]);
    for (let count = 0; count < 4; count++) this.#changeTarget();
  }

  /** One round: steps with pauses, each some changes on both sides. */
  async playRound(): Promise<void> {
    for (let steps = 1 + this.#random.below(STEPS_MAX); steps > 0; steps--) {
      await sleep(this.#random.below(PAUSE_MS_MAX));
      await this.#changeSource();
      for (let count = this.#random.below(FOREIGN_MAX + 1); count > 0; count--) this.#changeTarget();
    }
  }

  async #changeSource(): Promise<void> {
    const {source} = this.#folders;
    const count = 1 + this.#random.below(CHANGES_MAX);
    const step = ++this.#step;
    if (!this.#isNasty) this.lines.push(...changeRandomly(source, count, this.#random));
    else
      this.lines.push(
        ...(await this.#nasty('change', source, `${this.seed}`, `${step}`, NASTY_KINDS.join(','), `${count}`)),
      );
  }

  /** Where, is taken from the source: the target is never the same twice. */
  #changeTarget(): void {
    const path = this.#random.of(latin1PathsBelow(this.#folders.source));
    if (path === undefined) return;
    this.lines.push(`-- on the target: ${this.#foreign.change(path)}`);
  }

  async #nasty(...args: string[]): Promise<string[]> {
    const {stdout} = await run('python3', ['-I', '-S', '-B', NASTY, ...args], {maxBuffer: 1 << 28});
    return JSON.parse(stdout) as string[];
  }

  /**
   * Waits until both agents say that they are in sync, and rsync finds nothing to do.
   * @param state asked again and again @returns what is wrong, with all that led to it; none when everything is right
   */
  async check(state: () => Promise<VolumeState>): Promise<string[]> {
    const {source, target} = this.#folders;
    const endMs = performance.now() + QUIET_MS_MAX;
    const wrong: string[] = [];
    for (;;) {
      const {isInSync, told, staging, trash} = await state();
      const differences = isInSync ? await differencesOf(source, target) : 'not yet asked';
      if (differences === '') {
        wrong.push(...(await this.#judge()));
        wrong.push(...(await this.#leftIn(staging)));
        wrong.push(...(await this.#lost(trash)));
        break;
      }
      if (performance.now() > endMs) {
        wrong.push(
          `not in sync after ${QUIET_MS_MAX} ms: ${await told()}`,
          ...(await differencesOf(source, target)).split('\n'),
        );
        break;
      }
      await sleep(LOOK_EVERY_MS);
    }
    if (wrong.length === 0) return [];
    return [`seed ${this.seed}:`, ...wrong.slice(0, DIFFERENCES_SHOWN), '-- what was done', ...this.lines];
  }

  /** The programs that take paths judge some of the histories: they cost ten processes. */
  async #judge(): Promise<string[]> {
    const {source, target} = this.#folders;
    return judge(source, target, {by: this.seed % 8 === 0 ? 'all' : 'descriptors'});
  }

  async #leftIn(staging: string | undefined): Promise<string[]> {
    if (staging === undefined || !existsSync(staging)) return [];
    const left = latin1PathsBelow(staging);
    return left.map((path) => `left in staging: ${path}`);
  }

  async #lost(trash: string | undefined): Promise<string[]> {
    if (trash === undefined) return ['the target tells no trash'];
    const kept = await digestsBelow(this.#folders.target);
    const lost = await this.#foreign.lost(trash, kept);
    return lost.map((what) => `lost: what others had ${what}`);
  }
}
