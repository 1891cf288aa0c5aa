/**
 * A large file that is staged in part: what is known of it, so that a later transfer of the same path can go on.
 */
import type {FileTime} from './entry.ts';
import type {Name, RelPath} from './path.ts';

export interface PartialFile {
  /** Its name in the staging folder. */
  stage: Name;
  /** The path that it is to become. */
  path: RelPath;
  /** That the whole file has: the part takes no more. */
  sizeBytes: number;
  /** Which file it is: another one of that name is somebody else's. */
  ino: number;
  btime: FileTime;
  /** When it was begun or last taken up. */
  atMs: number;
}

/** Smaller files are begun anew: that costs less than to note them. */
export const PARTIAL_BYTES_MIN = 8 << 20;

/** Name of a large file in the staging folder. */
export function stageOfTransfer(nowMs: number, token: number): Name {
  return `t${Math.floor(nowMs)}-${token}`;
}

export function isPartialStage(stage: string): boolean {
  return /^t\d{1,16}-\d{1,16}$/.test(stage);
}
