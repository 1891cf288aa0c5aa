/**
 * The numbers that stand on the wire for kinds and codes. Only ever added to: a number keeps its meaning for good.
 *
 * Invariant: `Record` makes a kind without a number a compile error; a number stands once in its table.
 */
import assert from 'node:assert/strict';
import type {EntryType} from '../model/entry.ts';
import type {OpKind} from '../model/op.ts';
import type {ProblemCode} from '../model/problem.ts';
import type {MessageKind, SourceStateName} from './messages.ts';

export const MESSAGE_CODE: Record<MessageKind, number> = {
  hello: 0x01,
  ping: 0x02,
  pong: 0x03,
  credit: 0x04,
  fault: 0x05,
  bye: 0x06,
  'identity-next': 0x07,
  'identity-pinned': 0x08,
  'volume-ready': 0x09,
  'follow-volume': 0x0a,
  'volume-source': 0x0b,
  'open-link': 0x10,
  'link-opened': 0x11,
  'link-refused': 0x12,
  'close-link': 0x13,
  'link-state': 0x14,
  'target-changed': 0x15,
  'partial-files': 0x16,
  'list-nodes': 0x20,
  'node-listing': 0x21,
  'hash-files': 0x22,
  'file-digests': 0x23,
  'list-groups': 0x24,
  'group-listing': 0x25,
  'verify-files': 0x26,
  'ask-signature': 0x30,
  signature: 0x31,
  'no-signature': 0x32,
  batch: 0x40,
  'batch-result': 0x41,
  'file-start': 0x50,
  'file-leaves': 0x51,
  'file-end': 0x52,
  'file-abort': 0x53,
  'leaf-rejected': 0x54,
  'file-staged': 0x55,
  'file-holes': 0x56,
  'ask-leaves': 0x57,
  'leaves-held': 0x58,
  'file-same': 0x59,
  cut: 0x60,
  'cut-result': 0x61,
};

/** Kinds below this code belong to the session and carry link 0. */
export const LINK_CODES_FROM = 0x10;

export const TYPE_CODE: Record<EntryType, number> = {
  file: 1,
  dir: 2,
  symlink: 3,
  fifo: 4,
  socket: 5,
  block: 6,
  char: 7,
};

export const OP_CODE: Record<OpKind, number> = {
  'make-dir': 1,
  'put-file': 2,
  'put-symlink': 3,
  link: 4,
  'set-meta': 5,
  rename: 6,
  delete: 7,
  exchange: 8,
  'put-special': 9,
};

export const SOURCE_CODE = {inline: 1, staged: 2, copy: 3} as const;
export const LEAF_OP_CODE = {copy: 1, literal: 2, zeros: 3, kept: 4} as const;
export const NODE_CODE = {absent: 0, inner: 1, leaf: 2} as const;
export const SOURCE_STATE_CODE: Record<SourceStateName, number> = {
  'catching-up': 1,
  'in-sync': 2,
  settled: 3,
  halted: 4,
};

export const MODE_CODE = {mirror: 1} as const; // 2 is reserved for two-way
export const SPECIAL_CODE = {skip: 1, keep: 2} as const;

export const PROBLEM_CODE: Record<ProblemCode, number> = {
  unreadable: 1,
  unwritable: 2,
  changing: 3,
  vanished: 4,
  'not-carried': 5,
  'no-space': 6,
  'too-long': 7,
  'not-empty': 8,
  'base-changed': 9,
  'parent-missing': 10,
  corrupt: 11,
  mount: 12,
  'too-deep': 13,
  'owner-refused': 14,
  'links-refused': 15,
  refused: 16,
  internal: 17,
  attributes: 18,
  'corrupt-here': 19,
  drifted: 20,
  torn: 21,
};

/** The table read backwards: index is the number on the wire. */
export function byCode<K extends string>(table: Readonly<Record<K, number>>): readonly (K | undefined)[] {
  const kinds: (K | undefined)[] = [];
  for (const kind of Object.keys(table) as K[]) {
    assert.equal(kinds[table[kind]], undefined, `${kind} has a number of its own`);
    kinds[table[kind]] = kind;
  }
  return kinds;
}
