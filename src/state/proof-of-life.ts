/**
 * Until when the machine is known to have lived, in `volume.db`: what was read from its disks shortly before that may not
 * have been on them. A store into a file is on the disk half a minute later or more, its times may be there before it: a
 * power cut then leaves the older bytes under the newer times.
 *
 * Not the judge of what an entry holds. A time that is too early only makes more to be read once more, so it is written
 * seldom, and of a clock that jumps the lowest reading counts. Invariant: after another boot nothing is trusted that
 * could have been taken back, also when the process ended as it should (that says nothing of the machine), until
 * `settle` has noted that this was seen to.
 */
import {crc32} from 'node:zlib';
import type {Clock} from '../base/clock.ts';
import type {Database, Statement} from './database.ts';

/** How long a change may take to its disk: well above vm.dirty_expire_centisecs, and what a busy disk adds. */
export const UNSURE_MS = 300_000;

const SAVE_EVERY_MS = 10_000;
const ROW = 'alive';

interface Life {
  bootId: string;
  /** Ms since the epoch. */
  aliveMs: number;
}

export class ProofOfLife {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #bootId: string;
  readonly #read: Statement;
  readonly #write: Statement;
  readonly #newest: Statement;
  readonly #before: Life | undefined;
  #isSettled = false;
  /** What `aliveMs` of the file is, and when it was written by the clock that never goes back. */
  #saved = {aliveMs: Infinity, atMs: 0};
  #isRested = false;
  /** Wall clock minus monotonic clock: the lowest of this span of time and of the one before. */
  #offset: {sinceMs: number; lowest: number; lowestBefore: number};

  /** @param bootId names this boot of the machine; '': not known, so each opening counts as another */
  constructor(db: Database, {bootId, clock}: {bootId: string; clock: Clock}) {
    this.#db = db;
    this.#clock = clock;
    this.#bootId = bootId;
    this.#read = db.prepare('SELECT value FROM meta WHERE name = ?');
    this.#write = db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)');
    this.#newest = db.prepare('SELECT max(ctime_s) FROM entries WHERE content IS NOT NULL AND ctime_s <= ?');
    this.#before = lifeOf(this.#read.get(ROW)?.[0]);
    const monotonicMs = clock.monotonicMs();
    // The clock may have jumped since the last process: for a while its last reading counts too.
    const lowestBefore = this.#isSameBoot() ? (this.#before?.aliveMs ?? Infinity) - monotonicMs : Infinity;
    this.#offset = {sinceMs: monotonicMs, lowest: Infinity, lowestBefore};
  }

  /**
   * From which ctime on (seconds since the epoch) a content that was read before is in doubt.
   * @returns undefined when the machine has not been down since
   */
  doubtedFromS(): number | undefined {
    if (this.#isSameBoot()) return undefined;
    // Of a file by an older version: nothing that it knows was changed after the newest change that it knows.
    const aliveMs = this.#before?.aliveMs ?? this.#newestMs();
    return aliveMs === undefined ? undefined : Math.floor((aliveMs - UNSURE_MS) / 1_000);
  }

  /** What was in doubt has been forgotten, in the transaction that is open: from the commit on this boot counts. */
  settle(): void {
    this.#isSettled = true;
    this.#note(this.#aliveMs());
  }

  /** Before a commit. */
  save(): void {
    if (!this.#isSettled) return;
    this.#isRested = false;
    const aliveMs = this.#aliveMs();
    const isLater = this.#clock.monotonicMs() - this.#saved.atMs >= SAVE_EVERY_MS;
    if (isLater || aliveMs < this.#saved.aliveMs) this.#note(aliveMs);
  }

  /**
   * Once a volume has rested for so long that all of it must be on its disks, that is noted once: after a power cut at any
   * later time nothing of it is in doubt. @param commit is called where there is something to commit
   */
  rest(commit: () => void): void {
    const restedMs = this.#clock.monotonicMs() - this.#saved.atMs;
    if (this.#isRested || !this.#isSettled || restedMs <= UNSURE_MS + SAVE_EVERY_MS) return;
    this.#note(this.#aliveMs());
    commit();
    this.#isRested = true; // only now: any commit ends a rest
  }

  /** After a rollback: the file has what the last commit wrote. */
  forget(): void {
    this.#saved = {aliveMs: Infinity, atMs: 0};
    this.#isRested = false;
  }

  #isSameBoot(): boolean {
    if (this.#bootId === '') return false;
    return (this.#before?.bootId ?? this.#db.bootIdBefore) === this.#bootId;
  }

  /** The time by the lowest offset that was seen lately. */
  #aliveMs(): number {
    const monotonicMs = this.#clock.monotonicMs();
    const {sinceMs, lowest} = this.#offset;
    if (monotonicMs - sinceMs > UNSURE_MS)
      this.#offset = {sinceMs: monotonicMs, lowest: Infinity, lowestBefore: lowest};
    this.#offset.lowest = Math.min(this.#offset.lowest, this.#clock.nowMs() - monotonicMs);
    return Math.floor(monotonicMs + Math.min(this.#offset.lowest, this.#offset.lowestBefore));
  }

  #note(aliveMs: number): void {
    this.#write.run(ROW, textOf({bootId: this.#bootId, aliveMs}));
    this.#saved = {aliveMs, atMs: this.#clock.monotonicMs()};
  }

  #newestMs(): number | undefined {
    const [newestS] = this.#newest.get(this.#clock.nowMs() / 1_000) as [number | null];
    return newestS === null ? undefined : newestS * 1_000;
  }
}

function textOf({bootId, aliveMs}: Life): string {
  const body = `${bootId} ${aliveMs}`;
  return `${body} ${crc32(body)}`;
}

/** @returns undefined where nothing was noted, or what was noted is damaged */
function lifeOf(value: unknown): Life | undefined {
  const [bootId = '', aliveMs = ''] = typeof value === 'string' ? value.split(' ') : [];
  const life = {bootId, aliveMs: Number(aliveMs)};
  return aliveMs !== '' && textOf(life) === value ? life : undefined;
}
