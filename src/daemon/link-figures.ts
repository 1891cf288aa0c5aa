/**
 * Figures and reports that both directions of a link make alike.
 */
import type {Clock} from '../base/clock.ts';
import {TowlineError, type HaltKind} from '../base/errors.ts';
import type {LinkSettings} from '../config/agent-config.ts';
import type {HaltReport, LinkOutcome} from '../control/agent-api.ts';
import type {Halt, LinkNotes} from '../state/agent-store.ts';
import type {VolumeStore} from '../state/volume-store.ts';

/** Halts that are about the root of a volume, not about one of its links. */
const ROOT_HALTS: readonly HaltKind[] = ['root-missing', 'root-replaced', 'root-mark-missing', 'root-unreadable'];

export function isRootHalt(error: TowlineError): boolean {
  return error.code === 'HALTED' && ROOT_HALTS.includes((error as TowlineError<'HALTED'>).details.kind);
}

/** A known volume that is gone is a halt; an unknown one is waited for. */
export function haltedByMissing(volume: string, error: TowlineError): TowlineError<'HALTED'> {
  const message = `${error.message}; it is a known volume, so nothing is changed on the other side until it is back`;
  return new TowlineError('HALTED', message, {kind: 'root-missing', volume, count: 0, limit: 0});
}

export function haltReport({kind, count, limit, message, sinceMs}: Halt): HaltReport {
  return {kind, count, limit, message, sinceMs};
}

/** When the link was last proved to be in sync, and by what. */
export interface Proof {
  atMs: number;
  /** Of the tree, in hex. */
  digest: string;
}

/** What an earlier run proved. */
export function lastProof(notes: LinkNotes): Proof | undefined {
  const base = notes.linkBase().lastInSync;
  return base && {atMs: base.atMs, digest: base.digest.toString('hex')};
}

const WINDOW_MS = 5_000;

/** Bytes a second over the last seconds, from a counter that only grows. */
export class Meter {
  readonly #clock: Clock;
  #samples: {atMs: number; bytes: number}[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param bytes the counter now */
  rate(bytes: number): number {
    const atMs = this.#clock.monotonicMs();
    const last = this.#samples.at(-1);
    if (last === undefined || atMs - last.atMs >= 250) this.#samples.push({atMs, bytes});
    while (this.#samples.length > 2 && (this.#samples[1]?.atMs ?? 0) < atMs - WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0];
    if (first === undefined || atMs - first.atMs < 100) return 0;
    return Math.max(0, Math.round(((bytes - first.bytes) * 1_000) / (atMs - first.atMs)));
  }
}

/** What a link leaves out or changes because it was told to. */
export function chosenBy({special, ids}: Pick<LinkSettings, 'special' | 'ids'>): string[] {
  const skipped = special === 'skip' ? ['FIFOs, sockets and devices are skipped'] : [];
  return ids.length === 0 ? skipped : [...skipped, `owners are mapped: ${ids.join(', ')}`];
}

/** Fails when that does, and resolves never. */
export function failureOf(work: Promise<unknown>): Promise<never> {
  return work.then(() => new Promise<never>(() => {}));
}

/** What became of a wait for a send link. @param reason undefined when all went well */
export function sendOutcome(
  {volume, peer, proof}: {volume: string; peer: string; proof: Proof | undefined},
  notes: LinkNotes,
  exitCode: number,
  reason: string | undefined,
): LinkOutcome {
  const digest = exitCode === 0 ? proof?.digest : undefined;
  const problemCount = notes.problemCount();
  return {volume, peer, direction: 'send', exitCode, reason, digest, problemCount, problems: notes.problems(100)};
}

/** Both sides were equal: durable with the state that it is said of. @returns what `status` shows of it */
export function noteProof(
  notes: LinkNotes,
  {digest, volume, clock}: {digest: Buffer; volume: Pick<VolumeStore, 'flush' | 'seq'> | undefined; clock: Clock},
): Proof {
  volume?.flush();
  if (notes.haltOf() !== undefined) notes.clearHalt(); // what it was about is no more
  const atMs = clock.nowMs();
  notes.setLinkBase({lastInSync: {atMs, digest}, ackedSeq: volume?.seq() ?? 0});
  return {atMs, digest: digest.toString('hex')};
}
