/**
 * What a link tells about itself: its state and its counters. For people, JSON and metrics.
 */

export type LinkStatus =
  | {kind: 'connecting'; attempt: number}
  | {kind: 'scanning'; entries: number}
  | {kind: 'comparing'}
  | {kind: 'sending'; pendingCount: number}
  | {kind: 'in-sync'; asOfMs: number; digest: string}
  | {kind: 'problems'; count: number; asOfMs: number}
  | {kind: 'halted'; reason: string};

/** Counters of one run of a link; all only grow. */
export interface LinkStats {
  entriesScanned: number;
  directoriesListed: number;
  filesSent: number;
  /** Bytes of files' content that travelled, literal. The figure that "sends no content" is about. */
  contentBytes: number;
  /** Bytes of content that the target took from what it already had. */
  copiedBytes: number;
  /** All bytes in WebSocket frames, both directions. */
  wireBytes: number;
  created: number;
  replaced: number;
  renamed: number;
  linked: number;
  deleted: number;
  metaChanged: number;
  batches: number;
  filesHashed: number;
}

export function zeroStats(): LinkStats {
  return {
    entriesScanned: 0,
    directoriesListed: 0,
    filesSent: 0,
    contentBytes: 0,
    copiedBytes: 0,
    wireBytes: 0,
    created: 0,
    replaced: 0,
    renamed: 0,
    linked: 0,
    deleted: 0,
    metaChanged: 0,
    batches: 0,
    filesHashed: 0,
  };
}
