/**
 * The epoch of one volume and what other agents say of it: which source may write here, and when this one is no source
 * any more.
 *
 * Invariants: an older source changes nothing; an epoch that was taken, or a word that another is the source, is durable
 * before anything follows from it; a peer's number is believed only within a bounded step.
 */
import {isTowlineError, TowlineError} from '../base/errors.ts';
import {FIRST_EPOCH, judgeEpoch, packEpoch, unpackEpoch, type Epoch} from '../model/epoch.ts';
import {CONFIGURED_ROLE, type Superseded, type VolumeRole} from '../model/role.ts';
import {closeFd} from '../linux/open-fd.ts';
import {fromText} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import {openRoot, readEpochMark, writeEpochMark, type EpochMark} from '../volume/root-identity.ts';
import type {AgentParts} from './agent-parts.ts';

/** What a link that sends knows of it. */
export interface SourceEpochs {
  epoch(): Epoch;
  /** The peer has refused the link. @returns what is told of it; that another one was promoted is kept */
  refused(error: TowlineError, peer: string): string;
}

export interface VolumeEpochsParts extends Pick<AgentParts, 'clock' | 'log'> {
  /** Of the volume. */
  notes: LinkNotes;
  /** Another agent is the source now: what sends is to be stopped. Undefined: nothing is kept of a run's own volume. */
  onSuperseded: (() => void) | undefined;
}

export class VolumeEpochs implements SourceEpochs {
  readonly #volume: string;
  readonly #parts: VolumeEpochsParts;

  constructor(options: {volume: string}, parts: VolumeEpochsParts) {
    this.#volume = options.volume;
    this.#parts = parts;
  }

  /** What was decided; the configuration's role where that cannot be read, with the reason. */
  read(): {role: VolumeRole; damage: string | undefined} {
    try {
      return {role: this.#parts.notes.role(), damage: undefined};
    } catch (error) {
      if (!isTowlineError(error) || error.code !== 'STATE_DAMAGED') throw error;
      const decide = `decide anew with towline promote ${this.#volume} or towline follow ${this.#volume} PEER`;
      const damage = `who is the source of ${this.#volume} cannot be read (${error.message}); ${decide}; nothing is sent or received meanwhile`;
      return {role: CONFIGURED_ROLE, damage};
    }
  }

  get role(): VolumeRole {
    return this.read().role;
  }

  epoch(): Epoch {
    return this.role.epoch;
  }

  refused(error: TowlineError, peer: string): string {
    const plain = `${peer}: ${error.message}`;
    if (error.code !== 'HALTED') return plain;
    const {kind, count} = (error as TowlineError<'HALTED'>).details;
    if (kind !== 'epoch' || this.#parts.onSuperseded === undefined) return plain;
    const epoch = {number: count, token: 0};
    const ours = this.epoch();
    if (count < ours.number || judgeEpoch(ours, epoch) === 'far') return plain; // its link is refused all the same
    return this.supersede({epoch, peer, what: error.message});
  }

  /** Notes that nothing is sent any more. @returns the sentence that is told */
  supersede({epoch, peer, what}: {epoch: Epoch; peer: string; what: string}): string {
    const volume = this.#volume;
    const {role} = this;
    const {superseded: known} = role;
    if (known?.peer === peer && known.epoch.number === epoch.number) return known.message;
    const message = `${what}; nothing was pushed. To make this copy one of ${peer}’s: towline follow ${volume} ${peer}; to make this one the source again: towline promote ${volume}`;
    const superseded: Superseded = {epoch, peer, message, sinceMs: this.#parts.clock.nowMs()};
    this.#parts.notes.setRole({...role, superseded});
    this.#parts.log.error(message, {volume, peer, code: 'HALTED'});
    this.#parts.onSuperseded?.();
    return message;
  }

  /**
   * The folder itself is marked with its epoch too: a state that is older than the folder, or was lost, forgets nothing.
   * @param path of the root, which is the known one or is new
   * @param isSource by the directions in force
   */
  matchMark(path: string, isSource: boolean): void {
    const {role, damage} = this.read();
    if (damage !== undefined || this.#parts.onSuperseded === undefined) return;
    withRoot(path, this.#parts.notes.rootIdentity(), (fd) => {
      const mark = readEpochMark(fd);
      const marked = mark === undefined ? FIRST_EPOCH : unpackEpoch(mark.packed);
      if (mark !== undefined && marked.number > role.epoch.number)
        return this.#adoptMark(role, marked, {mark, isSource});
      const packed = packEpoch(role.epoch);
      const isWritten = mark?.packed === packed && mark.isSource === isSource;
      if (role.epoch.number > 1 && !isWritten && role.superseded === undefined) writeEpochMark(fd, {packed, isSource});
    });
  }

  #adoptMark(role: VolumeRole, epoch: Epoch, {mark, isSource}: {mark: EpochMark; isSource: boolean}): void {
    const volume = this.#volume;
    const was = `the folder of ${volume} was ${mark.isSource ? 'the source' : 'a copy'} in epoch ${epoch.number}, and the state here does not know of it: it is older, or was lost`;
    this.#parts.log.warn(was, {volume});
    const message = `${was}; nothing was pushed. To make it a copy of the source: towline follow ${volume} PEER; to make it the source: towline promote ${volume}`;
    const superseded = {epoch, peer: '', message, sinceMs: this.#parts.clock.nowMs()};
    const isHalted = isSource && !mark.isSource;
    this.#parts.notes.setRole({...role, epoch, superseded: isHalted ? superseded : role.superseded});
  }

  /** The source of a received volume tells its epoch. @throws HALTED: nothing is taken from it */
  take(packed: number, peer: string): void {
    const {role} = this;
    const theirs = unpackEpoch(packed);
    const verdict = judgeEpoch(role.epoch, theirs);
    if (verdict === 'same') return;
    if (verdict === 'newer') {
      this.#parts.notes.setRole({...role, epoch: theirs});
      this.#parts.log.info('the source was promoted', {volume: this.#volume, peer, epoch: theirs.number});
      return;
    }
    const there = `the volume is in epoch ${role.epoch.number} here`;
    const said: Record<'older' | 'rival' | 'far', string> = {
      older: `${there}, and this source only in epoch ${theirs.number}: its state is older than a promotion`,
      rival: `${there}, by another promotion than this source's: two copies were promoted, and one of them must follow the other`,
      far: `${there}, and this source claims epoch ${theirs.number}, which no count of promotions explains`,
    };
    throw haltedByEpoch(this.#volume, said[verdict], {ours: role.epoch, theirs});
  }
}

/** A link is refused for its epoch: the count is that of the side that refuses, the limit what the other side said. */
export function haltedByEpoch(
  volume: string,
  message: string,
  {ours, theirs}: {ours: Epoch; theirs: Epoch},
): TowlineError<'HALTED'> {
  return new TowlineError('HALTED', message, {kind: 'epoch', volume, count: ours.number, limit: theirs.number});
}

/** A root that is not the right one is somebody else's to tell about. */
function withRoot(path: string, known: RootIdentity | undefined, look: (fd: number) => void): void {
  let fd: number;
  try {
    ({fd} = openRoot(fromText(path), known));
  } catch (error) {
    if (isTowlineError(error)) return;
    throw error;
  }
  try {
    look(fd);
  } finally {
    closeFd(fd);
  }
}
