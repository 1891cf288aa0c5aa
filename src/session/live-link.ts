/**
 * One link that follows a live volume: sends what was noticed, holds back deletes, proves that both sides are equal.
 *
 * Not the one who notices (live-volume.ts). Invariants: deletes beyond the first few of a burst wait until it is over;
 * what could not be taken in is found by a comparison; in sync is said only after a cut that proves it.
 */
import {backoffDelayMs} from '../base/backoff.ts';
import {later, type Clock} from '../base/clock.ts';
import type {Digest} from '../model/digest.ts';
import {sameInode} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {HotRead, Reading} from '../model/reading.ts';
import type {RollingHour} from '../reconcile/rolling-hour.ts';
import type {Change} from '../scan/pass.ts';
import {moveSteps, orderChanges, stepOf, type Part} from './change-steps.ts';
import {LiveDeletes, type LiveDeletesOptions} from './live-deletes.ts';
import {LiveRestless, type LiveRestlessOptions, type LiveRestlessParts} from './live-restless.ts';
import type {Follower, Noticed} from './live-volume.ts';
import type {HotPort} from './send-item.ts';
import type {SourceLink, SourceState} from './source-link.ts';
import {createSteps} from './walk.ts';

/** The volume that is followed, by shape. */
export type FollowedVolume = LiveRestlessParts['volume'] & {
  readonly isQuiet: boolean;
  readonly isRestless: boolean;
  follow(follower: Follower): () => void;
};

export type FollowStatus =
  | {kind: 'sending'}
  | {kind: 'in-sync'; digest: Digest}
  /** Nothing more can be sent now, and yet both sides differ. */
  | {kind: 'unequal'};

export interface LiveLinkParts {
  volume: FollowedVolume;
  state: SourceState;
  clock: Clock;
  /** The account of this link's deletes, which its connections share; a new one when it is missing. */
  hour?: RollingHour;
  events: LiveRestlessParts['events'] & {onStatus(status: FollowStatus): void};
}

interface Waiting {
  noticed: Noticed;
  taken: () => void;
}

const CHANGES_WAITING_MAX = 8_192; // more is found again by a comparison
const SLEEP_MS_MAX = 3_600_000; // within what a timer can hold
const RETRY = {delayMsMin: 500, delayMsMax: 60_000};
const SOON_MS = 5_000; // between two tries, however much goes on the target
const ROUNDS_MAX = 6; // comparisons at once: what all of them leave unequal is not on this side, and needs time

export type LiveLinkOptions = LiveDeletesOptions & LiveRestlessOptions;

export class LiveLink implements Follower, HotPort {
  readonly #parts: LiveLinkParts;
  readonly #restless: LiveRestless;
  readonly #deletes: LiveDeletes;
  #wake = Promise.withResolvers<void>();
  #queue: Waiting[] = [];
  #queuedCount = 0;
  #isSending = false;
  #needsProof = true;
  /** Something was not taken in: only a comparison finds it. */
  #isBehind = false;
  #walkAtMs: number | undefined;
  #walkAttempts = 0;
  /** When that was last done. */
  #walkedMs = -Infinity;
  /** Comparisons in a row after which both sides still differed, although all that was sent arrived. */
  #rounds = 0;
  #isCatchingUp = false;
  /** Paths that did not arrive, ever. */
  #failureCount = 0;
  #oldestMs: number | undefined;
  #link: SourceLink | undefined;
  /** What wakes it once all is answered. */
  #settling: Promise<void> | undefined;

  constructor(options: LiveLinkOptions, parts: LiveLinkParts) {
    this.#parts = parts;
    this.#restless = new LiveRestless(options, parts);
    this.#deletes = new LiveDeletes(options, parts);
  }

  get isCatchingUp(): boolean {
    return this.#isCatchingUp;
  }

  /** When the oldest change was noticed that is not proved to be on the peer, on the monotonic clock. */
  get oldestMs(): number | undefined {
    return this.#oldestMs;
  }

  /** Deletes that wait for the end of their burst. */
  get heldCount(): number {
    return this.#deletes.heldCount;
  }

  take(noticed: Noticed): Promise<void> {
    const {changes} = noticed.result;
    for (const change of changes) {
      const leftPath = change.kind === 'put' ? change.from : change.path;
      if (leftPath !== undefined) this.#restless.arrived(leftPath); // it is no more, or elsewhere
      if (change.kind === 'put' && change.after.type !== 'file') continue;
      const isChange = change.kind === 'put' && change.before !== undefined && sameInode(change.before, change.after);
      if (change.kind === 'put' && change.from !== undefined) this.#link?.sender.abortLarge(change.from, false);
      this.#link?.sender.abortLarge(change.path, isChange);
    }
    this.#needsProof = true;
    this.#oldestMs ??= noticed.noticedMs;
    const isLagging = this.#isSending || this.#queue.length > 0;
    if (this.#queuedCount + changes.length > CHANGES_WAITING_MAX && isLagging) {
      this.#fallBehind();
      return Promise.resolve();
    }
    const {promise, resolve} = Promise.withResolvers<void>();
    this.#queue.push({noticed, taken: resolve});
    this.#queuedCount += changes.length;
    this.#wake.resolve();
    return isLagging ? Promise.resolve() : promise;
  }

  rest(): void {
    this.#wake.resolve();
  }

  /** Both sides are to be compared again, from the digests on. */
  compare(): void {
    this.#isBehind = true;
    this.#needsProof = true;
    this.#wake.resolve();
  }

  /** Equality is to be proved again, although nothing was noticed. */
  prove(): void {
    this.#needsProof = true;
    this.#wake.resolve();
  }

  /**
   * A path did not arrive; what differs is looked for again after a while.
   * @param retryMs when it is worth another try; undefined for one that changes each time it is read: when it rests
   */
  noteFailure(path: RelPath, retryMs: number | undefined): void {
    if (retryMs !== undefined) {
      this.#failureCount++;
      this.#walkAtMs = Math.min(this.#walkAtMs ?? Infinity, this.#parts.clock.monotonicMs() + retryMs);
    } else if (this.#restless.failed(path) === 1) this.#needsProof = true;
    else this.#failureCount++; // each time that it was in vain it is left alone for longer
    this.#wake.resolve();
  }

  /** Something made room on the target: what did not arrive may do so now. */
  tryAgainSoon(): void {
    if (this.#walkAtMs === undefined) return;
    const nowMs = this.#parts.clock.monotonicMs();
    this.#walkAtMs = Math.min(this.#walkAtMs, Math.max(nowMs + RETRY.delayMsMin, this.#walkedMs + SOON_MS));
    this.#wake.resolve();
  }

  /** A path has arrived, or is no more. @param hot set where it has changed since */
  noteArrival(path: RelPath, hot?: HotRead): void {
    if (hot === undefined) return this.#restless.arrived(path);
    if (this.#restless.advanced(path, hot)) this.compare();
    this.#failureCount++;
    this.#wake.resolve();
  }

  readingOf(path: RelPath, at: {isNoticed: boolean; isOnItsWay: boolean}): Reading | undefined {
    const reading = this.#restless.readingOf(path, at);
    if (reading === undefined) this.#failureCount++; // both sides differ, and it is not sent for that
    return reading;
  }

  /**
   * Follows until the signal is aborted. While the link catches up, small changes are sent already; proofs wait.
   * @param catchingUp ends when everything that differed at the start was sent
   * @throws HALTED, or the reason why the session ended
   */
  async follow(link: SourceLink, catchingUp: Promise<void>, signal: AbortSignal): Promise<void> {
    const {volume} = this.#parts;
    this.#link = link;
    this.#needsProof = true;
    this.#restless.lost();
    let failure: {reason: unknown} | undefined;
    const fail = (reason: unknown): void => {
      failure ??= {reason};
      this.#wake.resolve();
    };
    this.#catchUp(catchingUp, fail);
    const onAbort = (): void => this.#wake.resolve();
    signal.addEventListener('abort', onAbort);
    const leave = [volume.follow(this), link.whenOver(fail)];
    try {
      while (!signal.aborted) {
        if (failure !== undefined) throw failure.reason as Error;
        this.#wake = Promise.withResolvers<void>();
        if (!(await this.#step(link, fail)) && failure === undefined) await this.#sleep(link, fail);
      }
    } finally {
      for (const forget of leave) forget();
      signal.removeEventListener('abort', onAbort);
      this.#dropQueue();
      this.#link = undefined;
    }
  }

  /** @returns whether anything was done */
  async #step(link: SourceLink, fail: (reason: unknown) => void): Promise<boolean> {
    const nowMs = this.#parts.clock.monotonicMs();
    if ((this.#deletes.dueMs ?? Infinity) <= nowMs) return this.#release(link);
    const next = this.#queue.shift();
    if (next !== undefined) return this.#send(link, next);
    const isWalkDue = this.#isBehind || (this.#walkAtMs ?? Infinity) <= nowMs;
    if (isWalkDue && !this.#isCatchingUp) {
      this.#isBehind = false;
      this.#walkAtMs = undefined;
      this.#walkedMs = nowMs;
      this.#catchUp(
        link.catchUp().then(() => undefined),
        fail,
      );
      return true;
    }
    const isSent = !this.#isCatchingUp && link.sender.isSettled && this.#deletes.heldCount === 0;
    if (!this.#needsProof || !isSent || !this.#parts.volume.isQuiet) return false;
    this.#needsProof = false;
    await this.#prove(link);
    return true;
  }

  #catchUp(work: Promise<void>, fail: (reason: unknown) => void): void {
    this.#isCatchingUp = true;
    work.then(
      () => {
        this.#isCatchingUp = false;
        this.#needsProof = true;
        this.#wake.resolve();
      },
      (error: unknown) => fail(error),
    );
  }

  /** What waits is forgotten: a comparison finds it. */
  #fallBehind(): void {
    this.#dropQueue();
    this.#isBehind = true;
    this.#wake.resolve();
  }

  #dropQueue(): void {
    for (const {taken} of this.#queue.splice(0)) taken();
    this.#queuedCount = 0;
  }

  async #send(link: SourceLink, {noticed, taken}: Waiting): Promise<true> {
    this.#queuedCount -= noticed.result.changes.length;
    this.#isSending = true;
    try {
      this.#parts.events.onStatus({kind: 'sending'});
      if (noticed.scannedSince === undefined) await this.#sendLook(link, noticed);
      else await this.#sendScan(link, noticed, noticed.scannedSince);
    } finally {
      this.#isSending = false;
      taken();
    }
    return true;
  }

  /** Of a scan only renames are known; the rest is found by comparing. */
  async #sendScan(link: SourceLink, {result}: Noticed, sinceSeq: number): Promise<void> {
    const {state} = this.#parts;
    this.#deletes.noteMoves(result);
    for (const step of moveSteps(result, {entryAt: (path) => state.entryAt(path), view: link.view}, sinceSeq))
      await link.sender.add(step);
    this.#restless.lost(); // a look finds no change any more in what the scan has found: the comparison sends it
    this.#isBehind = true;
  }

  /** Sends what a look has found, in an order that the target can follow. */
  async #sendLook(link: SourceLink, {result, noticedMs, countBefore}: Noticed): Promise<void> {
    this.#deletes.note(result);
    const {parts, moved} = orderChanges(result);
    for (const part of parts)
      if (part.kind === 'changes') await this.#sendChanges(link, part.changes, {noticedMs, countBefore});
      else await this.#sendNew(link, part, {moved, noticedMs});
    await link.sender.kick();
  }

  async #sendChanges(
    link: SourceLink,
    changes: readonly Change[],
    noted: {noticedMs: number; countBefore: number},
  ): Promise<void> {
    const steps = changes.map((change) => stepOf(change, link.view)).filter((step) => step !== undefined);
    for (const step of await link.prepare(steps)) {
      if (step.destroys === 0 || this.#deletes.take(step, noted)) await link.sender.add(step, noted.noticedMs);
    }
  }

  /** What is below new directories was scanned, but is not kept among the changes: it may be much. */
  async #sendNew(
    link: SourceLink,
    {dirs, types}: Extract<Part, {kind: 'new'}>,
    {moved, noticedMs}: {moved: ReadonlySet<RelPath>; noticedMs: number},
  ): Promise<void> {
    for (const dir of dirs)
      for (const step of createSteps(this.#parts.state, dir, link.view, moved, types))
        await link.sender.add(step, noticedMs);
  }

  /** The burst is over. @throws HALTED */
  async #release(link: SourceLink): Promise<true> {
    this.#needsProof = true;
    for (const {step, noticedMs} of this.#deletes.release()) await link.sender.add(step, noticedMs);
    await link.sender.kick();
    return true;
  }

  async #prove(link: SourceLink): Promise<void> {
    const {events, clock, state, volume} = this.#parts;
    const seq = state.seq();
    const oldestMs = this.#oldestMs;
    const cut = await link.cut();
    if (cut.isEqual && !volume.isRestless) {
      this.#walkAttempts = 0;
      this.#rounds = 0;
      this.#walkAtMs = undefined;
      this.#restless.allArrived();
      if (!this.#needsProof && this.#oldestMs === oldestMs) this.#oldestMs = undefined;
      events.onStatus({kind: 'in-sync', digest: cut.digest});
      return;
    }
    const hasMovedOn = seq !== state.seq() || !volume.isQuiet || this.#queue.length > 0;
    const failures = this.#failureCount;
    const sent = hasMovedOn ? 0 : cut.isTreeEqual ? await link.repairLinks() : (await link.catchUp()).steps;
    // What was sent and arrived is proved next; what cannot arrive is tried again after a while only.
    const mayHelp = sent > 0 && failures === this.#failureCount && ++this.#rounds <= ROUNDS_MAX;
    if (hasMovedOn || mayHelp) {
      this.#needsProof = true;
      return;
    }
    this.#rounds = 0;
    this.#walkAtMs ??= clock.monotonicMs() + backoffDelayMs(this.#walkAttempts++, RETRY, Math.random());
    events.onStatus({kind: 'unequal'});
  }

  async #sleep(link: SourceLink, fail: (reason: unknown) => void): Promise<void> {
    const {clock} = this.#parts;
    this.#wakeWhenSettled(link, fail);
    const times = [this.#isCatchingUp ? undefined : this.#walkAtMs, this.#deletes.dueMs];
    const waits = times.filter((time) => time !== undefined).map((time) => time - clock.monotonicMs());
    const forget = later(clock, Math.max(0, Math.min(SLEEP_MS_MAX, ...waits)), () => this.#wake.resolve());
    await this.#wake.promise;
    forget();
  }

  /** While answers are outstanding, the proof waits for them: once, however often it is looked after. */
  #wakeWhenSettled({sender}: SourceLink, fail: (reason: unknown) => void): void {
    if (sender.isSettled) return;
    const settling = sender.settle();
    if (settling === this.#settling) return;
    this.#settling = settling;
    settling.then(() => this.#wake.resolve(), fail);
  }
}
