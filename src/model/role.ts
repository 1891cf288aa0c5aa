/**
 * Which side of its mirror a volume is on, as `promote` and `follow` said: it stands above the configuration. Types.
 */
import {FIRST_EPOCH, type Epoch} from './epoch.ts';

/** Another agent is the source now: nothing is sent until this one follows, or is promoted itself. */
export interface Superseded {
  epoch: Epoch;
  /** Who said so. */
  peer: string;
  /** One sentence for the operator. */
  message: string;
  sinceMs: number;
}

/** A peer that follows: it is sent to, whatever the configuration says. */
export interface Follower {
  to: string;
  /** The volume's name there. */
  as: string;
}

/** What a command decided. */
export interface Decided {
  by: 'promote' | 'follow';
  sinceMs: number;
  /** The peer that it is received from; null: this is the source. */
  source: string | null;
  /** The volume's name at that peer; null where this is the source. */
  sourceVolume: string | null;
  /** From whom the configuration had it received then; null: from nobody. While it still says so, it is overridden. */
  configured: string | null;
  /** Who was its source before a promotion, and may follow without a word of the configuration. */
  former: string | null;
  followers: Follower[];
  /** Deletes that the operator of a follower has confirmed, for its first comparison. */
  confirmedDeletes: number;
}

export interface VolumeRole {
  epoch: Epoch;
  /** Undefined: the configuration says who sends. */
  decided: Decided | undefined;
  superseded: Superseded | undefined;
}

export const CONFIGURED_ROLE: VolumeRole = {epoch: FIRST_EPOCH, decided: undefined, superseded: undefined};
