/**
 * Every limit of the protocol, with the reason where it is not plain, and the relations that must hold between them.
 *
 * Invariant: what one side may honestly have to say in one piece (a leaf, a trie leaf of 256 entries, one operation
 * with the longest paths) fits into one frame.
 */
import assert from 'node:assert/strict';
import {ATTRS_BYTES_MAX} from '../model/attrs.ts';
import {LEAF_BYTES} from '../model/digest.ts';
import {NAME_BYTES_MAX, PATH_BYTES_MAX} from '../model/path.ts';
import {TRIE_DEPTH_MAX, TRIE_FANOUT, TRIE_LEAF_COUNT_MAX} from '../model/tree.ts';

/** One WebSocket binary message. 2 MiB delay a ping by 170 ms at 100 Mbit/s and hold a trie leaf of the worst case. */
export const FRAME_BYTES_MAX = 2 * 1024 * 1024;
/** u8 message type, u8 flags, u16 reserved, u32 link. */
export const FRAME_HEADER_BYTES = 8;

// Values
export const SIZE_BYTES_MAX = 2 ** 46; // 64 TiB: far above what a volume's file has, far below where numbers lose bits
export const MODE_MAX = 0o7777;
export const OWNER_MAX = 0xffff_fffe; // the id 0xffffffff means "leave as it is" to chown(2), so it is not an owner
export const DEVICE_MAJOR_MAX = 2 ** 12 - 1; // what Linux has
export const DEVICE_MINOR_MAX = 2 ** 20 - 1;
export const NS_MAX = 999_999_999;
export const TIME_PRECISION_NS_MAX = 2_000_000_000; // vfat
export const LINK_TARGET_BYTES_MAX = 4_095; // Linux PATH_MAX without its NUL
export const TOKEN_BYTES_MAX = 32; // instance, state id
export const KEY_BYTES_MAX = 255; // a public key and a signature: 91 and 72 bytes with P-256
export const SEED_BYTES = 8; // of the strong sums

// Text
export const LABEL_BYTES_MAX = 255; // names of agents and volumes, error codes
export const MESSAGE_TEXT_BYTES_MAX = 1_024; // fault, bye, link-refused, no-signature, file-staged
export const RESULT_TEXT_BYTES_MAX = 400; // in batch-result, where thousands must fit into one frame
export const FEATURES_MAX = 64;
export const FEATURE_BYTES_MAX = 32;

// View
export const IGNORE_PATTERNS_MAX = 10_000;
export const IGNORE_BYTES_MAX = 64 * 1024; // all patterns together
export const VIEW_LIST_MAX = 256; // xattr classes, id ranges
export const VIEW_ITEM_BYTES_MAX = 255;

// Compare
export const NODES_MAX = 256;
export const TRIE_PREFIX_BYTES_MAX = TRIE_DEPTH_MAX;
export const TRIE_CHILDREN_MAX = TRIE_FANOUT;
/** A trie leaf above the last level; at the last level a leaf is not split and may hold up to the second number. */
export const TRIE_ENTRIES_MAX = TRIE_LEAF_COUNT_MAX;
export const TRIE_ENTRIES_MAX_DEEPEST = 4_096;
export const HASH_PATHS_MAX = 1_024;
export const GROUPS_MAX = 4_096;
export const GROUP_PATHS_MAX = 16_384; // in one message, all groups together
/** Bytes of all paths of one request, front coding undone. Requests are free of credits, so they stay small. */
export const REQUEST_PATH_BYTES_MAX = 256 * 1024;

// Signature
export const BLOCK_BYTES_MIN = 512;
export const BLOCK_BYTES_MAX = LEAF_BYTES;
export const SIGNATURE_BLOCKS_MAX = 65_536;

// Changes
export const BATCH_OPS_MAX = 4_096;
export const BATCH_INLINE_BYTES_MAX = 1024 * 1024;
/** One file inside a batch: at most a leaf, larger files are staged. */
export const INLINE_BYTES_MAX = LEAF_BYTES;
/** Bytes of all paths of one batch or group listing, front coding undone: 4 bytes on the wire can stand for 65,535. */
export const BATCH_PATH_BYTES_MAX = 4 * 1024 * 1024;
export const LEAVES_MAX = 64;
/** Files that a target has in part, as it tells its source. */
export const PARTIAL_FILES_MAX = 64;
/** Digests of leaves in one answer: 32 MiB of the file are read for it. */
export const HELD_LEAVES_MAX = 128;
export const LEAF_OPS_MAX = 4_096;
export const LEAF_OPS_MAX_PER_FRAME = 16_384;
export const LEAF_INDEX_MAX = SIZE_BYTES_MAX / LEAF_BYTES - 1;
/** Leaves of one run of holes, 1 TiB: the digests that stand for it are hashed in less than 100 ms. */
export const HOLE_LEAVES_MAX = 4 * 1024 * 1024;
/** Leaves of one run of those that are as the base has them, 1 GiB: 128 KiB of digests. */
export const SAME_LEAVES_MAX = 4_096;
export const EXTENSIONS_MAX = 64;

// Counts of what may be open at once; the session enforces them, a peer that goes beyond breaks the protocol.
export const LINKS_OPEN_MAX = 256; // per session
export const REQUESTS_OPEN_MAX = 64; // per link
export const BATCHES_OPEN_MAX = 64; // per link
export const TRANSFERS_OPEN_MAX = 64; // per link
export const CUTS_OPEN_MAX = 1; // per link
export const PINGS_OPEN_MAX = 4; // per session

// Times (PROTOCOL.md, "Heartbeats and deadlines")
export const HEARTBEAT_MS = 5_000;
export const PEER_DEAD_MS = 15_000;
export const HELLO_DEADLINE_MS = 10_000;
/**
 * Of a request. Not shorter for one that only looks into the tree: it may come behind a long batch, or behind a large
 * file that is hashed, on a slow disk. The heartbeat shows meanwhile that the peer lives, and is much faster.
 */
export const ANSWER_DEADLINE_MS = 30 * 60_000;

// The largest encodings of what cannot be divided.
export const ENTRY_BYTES_MAX = 1 + NAME_BYTES_MAX + 2 + 22 + 8 + 8 + 8 + 32 + 32 + 2 + LINK_TARGET_BYTES_MAX + 2;
export const OP_BYTES_MAX =
  2 + 2 * (4 + PATH_BYTES_MAX) + 26 + ATTRS_BYTES_MAX + 8 + 32 + 16 + LINK_TARGET_BYTES_MAX + INLINE_BYTES_MAX;
export const LEAF_DELTA_BYTES_MAX = 32 + 2 + LEAF_OPS_MAX * 13 + LEAF_BYTES;
/** Room for the fixed fields in front of a list. */
export const FIXED_BYTES_MAX = 128;

const roomBytes = FRAME_BYTES_MAX - FRAME_HEADER_BYTES - FIXED_BYTES_MAX;
assert.ok(TRIE_ENTRIES_MAX * ENTRY_BYTES_MAX <= roomBytes, 'a trie leaf of 256 entries of the worst case fits');
assert.ok(OP_BYTES_MAX <= roomBytes, 'any single operation fits');
assert.ok(LEAF_DELTA_BYTES_MAX <= roomBytes, 'any single leaf fits');
assert.ok(BATCH_INLINE_BYTES_MAX + BATCH_OPS_MAX * 128 <= roomBytes, 'a batch full of inline bytes and of ops fits');
assert.ok(BATCH_INLINE_BYTES_MAX >= INLINE_BYTES_MAX, 'any inline file fits into a batch');
assert.ok(BATCH_OPS_MAX * (4 + RESULT_TEXT_BYTES_MAX) <= roomBytes, 'the results of any batch fit');
assert.ok((LEAF_INDEX_MAX + 1) % HOLE_LEAVES_MAX === 0, 'the largest file is a whole number of runs');
assert.ok(LEAF_OPS_MAX_PER_FRAME >= LEAF_OPS_MAX, 'any single leaf is allowed');
assert.ok(SIGNATURE_BLOCKS_MAX * 12 <= roomBytes, 'a full piece of a signature fits');
assert.ok(REQUEST_PATH_BYTES_MAX >= 2 * PATH_BYTES_MAX, 'a request can name the longest path');
assert.ok(BATCH_PATH_BYTES_MAX >= 2 * PATH_BYTES_MAX, 'an operation can name two of the longest paths');
assert.ok(PEER_DEAD_MS >= 3 * HEARTBEAT_MS, 'one lost heartbeat is not a lost peer');
