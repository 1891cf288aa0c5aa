/**
 * What a switch says of each record: what is there now, and what was destroyed.
 */
import {readAttrsAt} from '../linux/attrs.ts';
import {statAt} from '../linux/stat.ts';
import {NO_ATTRS, type Attrs} from '../model/attrs.ts';
import {sameTime, type Stat} from '../model/entry.ts';
import type {OpResult} from '../model/op.ts';
import type {Name, RelPath} from '../model/path.ts';
import type {JournalRecord} from './journal-record.ts';
import type {TrashReason} from './trash-index.ts';

/** Ends the name of what a rename replaced, until it is in the trash. */
export const KEPT_SUFFIX = '-old';

export type RecordOf<K extends JournalRecord['kind']> = Extract<JournalRecord, {kind: K}>;

export interface Switched {
  index: number;
  result: OpResult;
  /** What is at the path now (for a rename: at its new path); undefined where nothing is or it failed. */
  stat: Stat | undefined;
  /** After an exchange: what is at the other path now. */
  otherStat: Stat | undefined;
  /** Its attributes, read after `stat`: a later change of them is seen by its ctime. */
  attrs: Attrs;
  otherAttrs: Attrs;
  /** What was at the path before; only where the entry itself stayed. */
  found: Stat | undefined;
  otherFound: Stat | undefined;
  /** Somebody wrote to the file between the last look before the switch and `stat`: its content is not the known one. */
  isTouched?: boolean;
  /** What was replaced or removed. */
  destroyed: Destroyed[];
  /** Of the system call that failed. */
  errno?: string;
}

/** An entry that is not at its path any more, with all that was below it. */
export interface Destroyed {
  path: RelPath;
  /** Relative to the trash; undefined when it was not put there. */
  place: string | undefined;
  /** `linked`: it has another name elsewhere; `empty`: a folder without anything in it; `patched`: changed in place. */
  reason: TrashReason | 'linked' | 'empty' | 'patched';
}

export interface Place {
  dirFd: number;
  name: Name;
}

/** Of an operation that leaves nothing to be seen. */
export const NOTHING_SEEN = {
  otherStat: undefined,
  attrs: NO_ATTRS,
  otherAttrs: NO_ATTRS,
  found: undefined,
  otherFound: undefined,
} satisfies Partial<Switched>;

export type Outcome = Pick<Switched, 'result' | 'stat'> & Partial<Switched>;

export function seenAt({dirFd, name}: Place): Pick<Switched, 'attrs'> & {stat: Stat} {
  const stat = statAt(dirFd, name);
  return {stat, attrs: readAttrsAt(dirFd, name) ?? NO_ATTRS};
}

/** Whether somebody has written to a file, whose name alone has changed. @param before when nobody could yet, or by then */
export function isTouchedSince(before: Stat, now: Stat): boolean {
  return now.type === 'file' && (now.sizeBytes !== before.sizeBytes || !sameTime(now.mtime, before.mtime));
}
