/**
 * What the journal holds of one batch: every switch with all it needs to be done, or done again, after a crash.
 *
 * Invariant: a record names inodes, so that doing it twice changes nothing and doing it on something else is noticed.
 */
import type {EntryType, FileTime, Meta, Seen, StatMeta} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {ApplyOptions} from './context.ts';

/** What this link wrote at a path, as the state knows it: only that may be dropped without a place in the trash. */
export type Known = Seen;

export type JournalRecord =
  /** The staged entry takes the path's place; what was there goes out by exchange. */
  | {
      kind: 'install';
      index: number;
      path: RelPath;
      stage: string;
      ino: number;
      type: EntryType;
      /** Time of a staged directory, which changes when it is moved. */
      mtime: FileTime;
      known: Known | undefined;
    }
  /** `allocatedBytes` of a file: what it takes on the source, where that is known. */
  | {
      kind: 'meta';
      index: number;
      path: RelPath;
      type: EntryType;
      meta: JournalMeta;
      allocatedBytes?: number | undefined;
    }
  /** `toIno`: what it replaces, if anything. */
  | {
      kind: 'rename';
      index: number;
      path: RelPath;
      to: RelPath;
      ino: number;
      toIno?: number | undefined;
      type: EntryType;
    }
  | {kind: 'exchange'; index: number; path: RelPath; to: RelPath; ino: number; toIno: number}
  /** The leaves of a redo file are written into a large file, in place. `base`: the file as it was when they were made. */
  | {
      kind: 'patch';
      index: number;
      path: RelPath;
      redo: string;
      redoIno: number;
      base: Seen;
      sizeBytes: number;
      /** Digest of what it makes, in hex. */
      content: string;
      meta: JournalMeta;
    }
  | {kind: 'delete'; index: number; path: RelPath; ino: number; type: EntryType};

/** Metadata whose attributes are a byte string, which survives JSON. */
export type JournalMeta = StatMeta & {attrs?: string};

export interface JournalBatch {
  version: 1;
  batch: number;
  /** Wall clock of the batch, for places in the trash. */
  atMs: number;
  records: JournalRecord[];
  /** What the batch was agreed to be, so that it is completed without asking anybody. Rows of older versions lack it. */
  options?: ApplyOptions | undefined;
  /** Where it is staged. */
  places?: JournalPlaces | undefined;
  /** Name of the peer that asked for it. */
  peer?: string | undefined;
}

/** Host paths, as text: volume/places.ts by shape. */
export interface JournalPlaces {
  staging: string;
  trash: string;
  isInRoot: boolean;
}

export function journalMetaOf({attrs, ...meta}: Meta): JournalMeta {
  return {...meta, attrs: attrs.toString('latin1')};
}

export function metaOfJournal({attrs = '', ...meta}: JournalMeta): Meta {
  return {...meta, attrs: Buffer.from(attrs, 'latin1')};
}

/** Byte strings survive JSON: every char is below 256. */
export function encodeJournal(batch: JournalBatch): Buffer {
  return Buffer.from(JSON.stringify(batch), 'utf8');
}

/** @throws SyntaxError never in practice: the row's checksum was verified before */
export function decodeJournal(body: Uint8Array): JournalBatch {
  return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')) as JournalBatch;
}
