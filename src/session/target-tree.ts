/**
 * What the target's end of a link needs of its state and of its volume's workers.
 *
 * Types, and one look-up; holds nothing.
 */
import type {Signature} from '../delta/signature.ts';
import type {Digest} from '../model/digest.ts';
import type {Entry, Seen} from '../model/entry.ts';
import type {Op, OpResult} from '../model/op.ts';
import type {PartialFile} from '../model/partial-file.ts';
import {nameOf, parentOf, type Name, type RelPath} from '../model/path.ts';
import type {TreeNode} from '../model/tree.ts';

/** The target's state; state/volume-store.ts by shape. */
export interface TargetTree {
  stateId: Buffer;
  dirIdOf(path: RelPath): number | undefined;
  get(parentId: number, name: Name): (Entry & {dirId: number}) | undefined;
  setContent(parentId: number, name: Name, content: Digest | undefined): void;
  /** Notes the content of a file that was read as this entry says; not if it is another by now. */
  setContentOf(entry: Entry & {parentId: number}, content: Digest): void;
  node(dirId: number, prefix: Buffer): TreeNode;
  countBelow(dirId: number): number;
  entryCount(): number;
  rootDigest(): Digest;
  groupsDigest(): Digest;
  groups(after: number, countMax: number): {groups: RelPath[][]; next: number};
  flush(): void;
}

/** A regular file as the state knows it. */
export interface KnownFile {
  path: RelPath;
  parentId: number;
  entry: Entry;
}

export function fileAt(tree: TargetTree, path: RelPath): KnownFile | undefined {
  const parentId = tree.dirIdOf(parentOf(path));
  const entry = parentId === undefined ? undefined : tree.get(parentId, nameOf(path));
  return parentId === undefined || entry?.type !== 'file' ? undefined : {path, parentId, entry};
}

/** Parts of large files, over the end of a link; apply/partial-files.ts by shape. */
export interface PartialFiles {
  isWorth(sizeBytes: number): boolean;
  paths(): RelPath[];
  idle(): readonly PartialFile[];
  take(path: RelPath): PartialFile | undefined;
  note(part: Omit<PartialFile, 'atMs'>): void;
  leave(stage: Name): Promise<void>;
  /** As `leave`, with nothing removed. */
  keep(stage: Name): void;
  gone(stage: Name): void;
  outdated(ops: readonly Op[], results: readonly OpResult[]): Promise<void>;
  clear(): Promise<number>;
  /** Resolves when what is to be removed is removed. */
  settled(): Promise<void>;
}

type FileToRead = {path: RelPath; expected: Seen};

export type AnswerJobs = {
  'hash-files': {
    in: {files: FileToRead[]; isFromDisk?: boolean};
    out: {status: Uint8Array; digests: Uint8Array};
    part: never;
  };
  'sign-file': {
    in: {file: FileToRead; content: Uint8Array; blockBytes: number; seed: Uint8Array};
    out: Signature | undefined;
    part: never;
  };
};

export type ReceiveJobs = {
  'open-staged': {
    in: {
      token: number;
      stage: string;
      path: RelPath;
      sizeBytes: number;
      base: FileToRead | undefined;
      isDurable: boolean;
      allocatedBytes: number | undefined;
      partial: PartialFile | undefined;
      spare: readonly PartialFile[];
      inPlaceAbove: number | undefined;
    };
    out: {
      result: OpResult;
      file: Pick<PartialFile, 'stage' | 'ino' | 'btime'> | undefined;
      removed: string[];
      redoOf?: Seen | undefined;
    };
    part: never;
  };
  'held-leaves': {
    in: {token: number; leafIndexFirst: number; leafCount: number};
    out: {digests: Uint8Array[]};
    part: never;
  };
  'pass-holes': {in: {token: number; leafIndexFirst: number; leafCount: number}; out: OpResult; part: never};
  'write-leaves': {
    in: {token: number; frame: Uint8Array};
    out: {rejected: number[]; isBaseChanged: boolean; result: OpResult};
    part: never;
  };
  'pass-same': {
    in: {token: number; leafIndexFirst: number; digests: Uint8Array};
    out: {passedCount: number; rejected: number[]; isBaseChanged: boolean; result: OpResult};
    part: never;
  };
  'finish-staged': {in: {token: number; content: Uint8Array}; out: OpResult; part: never};
  'drop-staged': {in: {token: number; stage: string; mayStay: boolean}; out: {isKept: boolean}; part: never};
};

export type TargetJobs = AnswerJobs & ReceiveJobs;
