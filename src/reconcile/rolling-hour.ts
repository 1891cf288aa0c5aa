/**
 * Counts what a tree lost within the last hour, so that deletes which trickle are judged as a burst is. Pure: the caller
 * gives the time of a clock that never goes back, and performs the verdict.
 *
 * Counted are entries that were there before the hour began. So no loss is: what came within the hour and goes within it
 * (a journal, a build, rotated logs); what is renamed; the same path a second time (a delete that is sent again); and,
 * looked at before anything is halted, what is back at its path. But as many new entries under other names make up for
 * nothing: the tree of an hour ago is gone then all the same. The share is of the tree before the first loss that still
 * counts. An hour of 60 buckets: a loss counts for 60 to 61 minutes. In doubt a loss counts: beyond 20,000 births and
 * 20,000 paths within an hour the older ones are not told apart any more.
 *
 * Invariant: more than the limits allow never goes within an hour, except by the operator's word.
 */
import {isWithin, parentOf, ROOT, type RelPath} from '../model/path.ts';
import {Births} from './births.ts';
import {judgeDeletes, type DeleteLimits, type Verdict} from './delete-guard.ts';

export const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const BIRTHS_MAX = 40_000; // about 6 MB, for a link that has so many
const PATHS_MAX = 20_000; // about 4 MB; above what the usual limit of a count lets go

interface Minute {
  startMs: number;
  /** Entries of the tree before the first loss of this minute. */
  treeCount: number;
  lost: number;
}

/** A path that was counted. */
interface Loss {
  minute: Minute;
  count: number;
}

export interface HourlyQuestion {
  /** Entries of the tree now, what is asked about among them. */
  treeCount: number;
  /** Entries that will be left. */
  leftCount: number;
  limits: DeleteLimits;
  nowMs: number;
  /** How many entries are at a path by now, with all below it; a file without content counts as none. */
  countAt: (path: RelPath) => number;
}

export class RollingHour {
  /** Of the same tree; bursts ask it too. What it is told of moves comes through `renamed` and `exchanged`. */
  readonly births = new Births({countMax: BIRTHS_MAX, keepMs: HOUR_MS});
  #minutes: Minute[] = [];
  readonly #losses = new Map<RelPath, Loss>();
  /** What the operator confirmed and was not used yet. */
  #confirmed = {count: 0, untilMs: 0};

  /** Entries that count as lost within the hour. */
  lostCount(nowMs: number): number {
    this.#expire(nowMs);
    return this.#minutes.reduce((sum, {lost}) => sum + lost, 0);
  }

  /** What of a loss counts. @param count entries at the path and below it that go */
  countOf(path: RelPath, count: number, nowMs: number): number {
    if (count === 0 || this.births.isBornSince(path, nowMs - HOUR_MS)) return 0;
    this.#expire(nowMs);
    for (let above = path; above !== ROOT; above = parentOf(above)) if (this.#losses.has(above)) return 0;
    return count;
  }

  /** Judges `count` more, by `countOf`, together with the last hour. What may go is then to be noted. */
  judge(count: number, question: HourlyQuestion): Verdict {
    if (count === 0) return {go: true};
    const verdict = this.#verdict(count, question);
    if (verdict.go) return verdict;
    this.#dropReturned(question);
    return this.#verdict(count, question);
  }

  /** What may go, or went. @param path undefined: something else is there; @param count by `countOf`; @param treeCount entries before it */
  note(path: RelPath | undefined, count: number, {treeCount, nowMs}: {treeCount: number; nowMs: number}): void {
    if (count === 0) return;
    const confirmed = Math.min(count, this.#confirmedCount(nowMs));
    this.#confirmed.count -= confirmed;
    const minute = this.#minuteAt(nowMs, treeCount);
    minute.lost += count - confirmed;
    if (path === undefined) return;
    if (this.#losses.size >= PATHS_MAX) this.#losses.clear();
    this.#losses.set(path, {minute, count: count - confirmed});
  }

  /** Something was renamed: what was counted at the new place can come back there no more. */
  renamed(from: RelPath, to: RelPath, how: {isDir: boolean; isOver: boolean}): void {
    this.births.renamed(from, to, how);
    if (this.#losses.size === 0) return;
    const loss = this.#losses.get(from);
    this.#forgetLosses(from, how.isDir);
    this.#forgetLossesAbove(to);
    this.#forgetLosses(to, how.isDir);
    if (loss !== undefined) this.#losses.set(to, loss);
  }

  exchanged(a: RelPath, b: RelPath): void {
    this.births.exchanged(a, b);
    for (const path of [a, b]) {
      this.#forgetLossesAbove(path);
      this.#forgetLosses(path, true);
    }
  }

  /** The operator lets so many go: those of the last hour do not count any more, and the rest of them may go yet. */
  confirmed(count: number, nowMs: number): void {
    if (count === 0) return;
    let left = count;
    this.#expire(nowMs);
    for (const minute of this.#minutes) {
      const forgiven = Math.min(left, minute.lost);
      minute.lost -= forgiven;
      left -= forgiven;
    }
    for (const loss of this.#losses.values()) loss.count = 0; // coming back gives nothing back that was forgiven
    this.#minutes = this.#minutes.filter(({lost}) => lost > 0);
    this.#confirmed = {count: left, untilMs: nowMs + HOUR_MS};
  }

  #verdict(count: number, {treeCount, leftCount, limits, nowMs}: HourlyQuestion): Verdict {
    const total = this.lostCount(nowMs) + Math.max(0, count - this.#confirmedCount(nowMs));
    const before = this.#minutes.find(({lost}) => lost > 0)?.treeCount ?? treeCount;
    // A tree that holds anything is not emptied, however much of it is new.
    return judgeDeletes(total, leftCount <= 0 ? total : Math.max(before, total + 1), limits, 0);
  }

  /** Before anything is halted: what is there again is no loss. */
  #dropReturned({countAt}: HourlyQuestion): void {
    for (const [path, loss] of this.#losses) {
      const back = Math.min(loss.count, countAt(path));
      loss.minute.lost -= back;
      loss.count -= back;
      if (back > 0 && loss.count === 0) this.#losses.delete(path);
    }
  }

  #confirmedCount(nowMs: number): number {
    return nowMs < this.#confirmed.untilMs ? this.#confirmed.count : 0;
  }

  #minuteAt(nowMs: number, treeCount: number): Minute {
    const startMs = nowMs - (nowMs % MINUTE_MS);
    let minute = this.#minutes.at(-1);
    if (minute === undefined || minute.startMs < startMs) {
      minute = {startMs, treeCount, lost: 0};
      this.#minutes.push(minute);
    }
    return minute;
  }

  #expire(nowMs: number): void {
    const isOver = ({startMs}: Minute): boolean => startMs + MINUTE_MS + HOUR_MS <= nowMs;
    if (this.#minutes[0] === undefined || !isOver(this.#minutes[0])) return;
    this.#minutes = this.#minutes.filter((minute) => !isOver(minute));
    for (const [path, {minute}] of this.#losses) if (isOver(minute)) this.#losses.delete(path);
  }

  /** What is at a path, or in it, is something else than what was counted there; that stays counted. */
  #forgetLosses(path: RelPath, isDir: boolean): void {
    this.#losses.delete(path);
    if (!isDir) return;
    for (const lost of this.#losses.keys()) if (isWithin(lost, path)) this.#losses.delete(lost);
  }

  #forgetLossesAbove(path: RelPath): void {
    for (let above = parentOf(path); above !== ROOT; above = parentOf(above)) this.#losses.delete(above);
  }
}
