/**
 * The jobs of sending one large file: what goes in, and what comes out. Types only.
 */
import type {Signature} from '../delta/signature.ts';
import type {FileTime, StatMeta} from '../model/entry.ts';
import type {Reading} from '../model/reading.ts';
import type {PackedLeaves} from './leaf-frames.ts';
import type {FileToRead} from './read-files.ts';

/** With frames that are ready to be sent. */
export interface LeavesRead extends PackedLeaves {
  status: number;
  errno: number;
  /** The rolling search needs the base's weak sums now; nothing more comes before they are given. */
  needsWeak: boolean;
  /** Of the file, in all. */
  leavesRead: number;
  /** Set with the last leaf. */
  end: TransferEnd | undefined;
}

export interface TransferEnd {
  content: Uint8Array;
  /** None for a file that is too large for one. */
  signature: Signature | undefined;
  /** The file changed while it was read as it is: these bytes were never together in it. */
  isTorn: boolean;
  /** Whether the file is still what was read. */
  isCurrent: boolean;
  /** Of the file, now. */
  mtime: FileTime;
}

/** What a transfer reads. */
export interface OpenedVersion extends StatMeta {
  sizeBytes: number;
  /** Whether it is the version that was asked for. */
  isExpected: boolean;
}

export type TransferJobs = {
  'open-transfer': {
    in: {
      token: number;
      file: FileToRead;
      reading: Reading;
      base: Signature | undefined;
      seed: Uint8Array;
      link: number;
      transfer: number;
      /** Set where its blocks are to tell what has changed. */
      extents?: ByExtents | undefined;
    };
    /** `allocatedBytes`: its size where it has no holes. `as`: how it is read now. */
    out: {
      status: number;
      errno: number;
      allocatedBytes: number;
      as: Reading;
      version: OpenedVersion | undefined;
      /** `changes`: its blocks tell what differs from the base; `refused`: they never will here. */
      extents?: 'changes' | 'refused' | undefined;
    };
    part: never;
  };
  /** What it is compared with, where its blocks did not tell. */
  'give-base': {in: {token: number; base: Signature; seed: Uint8Array}; out: undefined; part: never};
  'give-weak': {in: {token: number; weak: Uint8Array | undefined}; out: undefined; part: never};
  /** `held`: what the target has already; nothing behind it is read unless it is the last of that. */
  'read-leaves': {in: {token: number; leafCount: number; held?: Held | undefined}; out: LeavesRead; part: never};
  /** One leaf again, literal. */
  'read-leaf': {in: {token: number; leafIndex: number}; out: LeavesRead; part: never};
  /** Drops versions whose space is needed, and those of files that are no more. */
  'tend-kept': {in: {reserveShare: number}; out: {keptCount: number}; part: never};
  'close-transfer': {in: {token: number}; out: undefined; part: never};
};

export interface ByExtents {
  /** While no more than this share of the filesystem is free, no version is kept. */
  reserveShare: number;
  /** The content of the target's base, if it has one. */
  base: Uint8Array | undefined;
  /** The peer takes runs of leaves that are as the base has them. */
  hasRuns: boolean;
}

/** Digests of leaves in a row that the target has. */
export interface Held {
  leafIndexFirst: number;
  digests: Uint8Array;
  isLast: boolean;
}
