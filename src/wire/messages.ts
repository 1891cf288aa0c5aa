/**
 * The messages two agents exchange. Their bytes are in `PROTOCOL.md`, made and read by `codec.ts`. Pure.
 *
 * Every message but the session ones carries `link`, so that one connection serves many volumes. `request` numbers
 * are chosen by the asker and unique among its open requests of a link.
 */
import type {Digest} from '../model/digest.ts';
import type {Op, OpResult} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import type {ProblemCode} from '../model/problem.ts';
import type {TreeNode} from '../model/tree.ts';
import type {Holding, View, ViewLimits} from '../model/view.ts';

/**
 * Copy from the base file, literal bytes, or zeros: a leaf's ops build it front to back. `kept` stands alone: the leaf
 * lies in what the target has staged already.
 */
export type LeafOp =
  | {kind: 'copy'; baseOffset: number; sizeBytes: number}
  | {kind: 'literal'; bytes: Buffer}
  | {kind: 'zeros'; sizeBytes: number}
  | {kind: 'kept'; sizeBytes: number};

export interface LeafDelta {
  /** Digest of the leaf after the ops: each leaf is verified alone. */
  digest: Digest;
  ops: LeafOp[];
}

/** One piece of a signature: consecutive delta blocks of the base. */
export interface SignatureRows {
  blockBytes: number;
  sizeBytes: number;
  blockIndexFirst: number;
  /** One u32 per block, little-endian; empty where only strong sums were asked for. */
  weak: Buffer;
  /** One u64 per block, little-endian. */
  strong: Buffer;
  isLast: boolean;
}

/** What a source says of its link. `settled`: one catch-up is over, and what it could not send are problems. */
export const SOURCE_STATE_NAMES = ['catching-up', 'in-sync', 'settled', 'halted'] as const;
export type SourceStateName = (typeof SOURCE_STATE_NAMES)[number];

export type Message =
  // Session
  | {kind: 'hello'; versionMin: number; versionMax: number; features: string[]; name: string; instance: Buffer}
  | {kind: 'ping'; nonce: number}
  | {kind: 'pong'; nonce: number}
  /** Bytes of frames of one link that were worked off: `isOurs` when the link is numbered by who sends this message. */
  | {kind: 'credit'; bytes: number; of: number; isOurs: boolean}
  | {kind: 'fault'; code: string; message: string}
  | {kind: 'bye'; reason: string}
  /** The sender will have this key; the signature is made with it (DER), over what `rotation.ts` says. */
  | {kind: 'identity-next'; publicKey: Buffer; signature: Buffer}
  /** The peer has pinned the announced key beside the old one. */
  | {kind: 'identity-pinned'; id: Digest}
  /** A volume that this agent receives can be opened now. */
  | {kind: 'volume-ready'; volume: string}
  /** Feature `follow`: who is the source of the receiver's `volume`? `isFollowing`: send it to us from now on, as `as`. */
  | {
      kind: 'follow-volume';
      request: number;
      volume: string;
      as: string;
      isFollowing: boolean;
      /** Of the sender. */
      epoch: number;
      /** Entries of the sender's that its operator has given up. */
      confirmedDeletes: number;
    }
  | {
      kind: 'volume-source';
      request: number;
      /** Whether the sender of this is the source, and gives it to who asked. */
      isSource: boolean;
      epoch: number;
      /** When it was promoted, by its clock; 0 when it never was. */
      sinceMs: number;
      /** Why it is not. */
      reason: string;
    }
  // Link
  | {
      kind: 'open-link';
      link: number;
      volume: string;
      mode: 'mirror';
      epoch: number;
      ackedSeq: number;
      view: View;
      viewDigest: Digest;
      isDryRun: boolean;
      isDurable: boolean;
      /** Deletes that the operator confirmed beyond the guards; 0 for none. */
      confirmedDeletes: number;
    }
  | {
      kind: 'link-opened';
      link: number;
      epoch: number;
      /** What the target holds of the view. */
      limits: ViewLimits;
      /** Why it does not hold the rest. */
      causes: Holding['causes'];
      /** Who owns what the target makes where it does not set owners. */
      owner: Holding['owner'];
      groupsDigest: Digest;
      /** Digest of the target's tree in the view. */
      rootDigest: Digest;
      entryCount: number;
      /** Random number of the target's state: another one means that state was lost or replaced. */
      stateId: Buffer;
    }
  | {kind: 'link-refused'; link: number; code: string; message: string; count: number; limit: number}
  | {kind: 'close-link'; link: number; reason: string}
  /** How the source sees the link, for the target's status; `cut` is the last cut that it refers to. */
  | {kind: 'link-state'; link: number; state: SourceStateName; cut: number; problemCount: number; reason: string}
  /** Something else than this link changed the target: the source compares. */
  | {kind: 'target-changed'; link: number}
  /** Files that an earlier link had begun to send, and of which the target still has a part. Before `link-opened`. */
  | {kind: 'partial-files'; link: number; paths: RelPath[]}
  // Compare
  | {kind: 'list-nodes'; link: number; request: number; nodes: {path: RelPath; prefix: Buffer}[]}
  | {kind: 'node-listing'; link: number; request: number; nodes: TreeNode[]}
  | {kind: 'hash-files'; link: number; request: number; paths: RelPath[]}
  | {kind: 'verify-files'; link: number; request: number; paths: RelPath[]}
  | {kind: 'file-digests'; link: number; request: number; digests: (Digest | undefined)[]}
  | {kind: 'list-groups'; link: number; request: number; after: number}
  /** Hard-link groups of the target: each a sorted list of paths. `next` is 0 at the end. */
  | {kind: 'group-listing'; link: number; request: number; groups: RelPath[][]; next: number}
  // Signature of a file the target holds
  | {
      kind: 'ask-signature';
      link: number;
      request: number;
      path: RelPath;
      content: Digest;
      blockBytes: number;
      seed: Buffer;
    }
  | {kind: 'signature'; link: number; request: number; rows: SignatureRows}
  | {kind: 'no-signature'; link: number; request: number; code: ProblemCode; message: string}
  // Changes
  | {kind: 'batch'; link: number; batch: number; seq: number; ops: Op[]}
  | {kind: 'batch-result'; link: number; batch: number; results: OpResult[]}
  // Large files, staged outside batches
  | {
      kind: 'file-start';
      link: number;
      transfer: number;
      path: RelPath;
      sizeBytes: number;
      /** The file that copy ops refer to, or undefined when all is literal. */
      base: {path: RelPath; content: Digest} | undefined;
      /** Of a file with holes: bytes that it has allocated on the source. Blocks of zeros are left as holes then. */
      allocatedBytes?: number | undefined;
    }
  | {kind: 'file-leaves'; link: number; transfer: number; leafIndexFirst: number; leaves: LeafDelta[]}
  /** Leaves of a file with holes that are zeros; the last, short one may be among them. */
  | {kind: 'file-holes'; link: number; transfer: number; leafIndexFirst: number; leafCount: number}
  /** Leaves that are as the base has them at this place: their digests, in a row. */
  | {kind: 'file-same'; link: number; transfer: number; leafIndexFirst: number; digests: Buffer}
  /** What the target has at these places of the staged file already. */
  | {
      kind: 'ask-leaves';
      link: number;
      request: number;
      transfer: number;
      leafIndexFirst: number;
      leafCount: number;
    }
  /** Digests of them in order; fewer than were asked for at the end of what it has. */
  | {kind: 'leaves-held'; link: number; request: number; digests: Digest[]}
  | {kind: 'file-end'; link: number; transfer: number; content: Digest}
  | {kind: 'file-abort'; link: number; transfer: number}
  | {kind: 'leaf-rejected'; link: number; transfer: number; leafIndex: number; isBaseChanged: boolean}
  | {kind: 'file-staged'; link: number; transfer: number; result: OpResult}
  // Proof
  | {kind: 'cut'; link: number; cut: number; seq: number; rootDigest: Digest; groupsDigest: Digest}
  | {
      kind: 'cut-result';
      link: number;
      cut: number;
      rootDigest: Digest;
      groupsDigest: Digest;
      entryCount: number;
      isDurable: boolean;
    };

export type MessageKind = Message['kind'];
export type MessageOf<K extends MessageKind> = Extract<Message, {kind: K}>;
