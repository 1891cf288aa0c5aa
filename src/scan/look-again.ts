/**
 * Second looks at one path, which the listing of its directory cannot answer.
 */
import type {JobRunner} from '../base/jobs.ts';
import type {Attrs} from '../model/attrs.ts';
import type {Stat} from '../model/entry.ts';
import {nameOf, parentOf, type RelPath} from '../model/path.ts';
import {readListings} from './listing.ts';
import type {ScanJobs, ScanRules} from './scan-tree.ts';

const ENOENT = 2;
const ENOTDIR = 20;

/** What is at a path at this moment, ignored or not; undefined for nothing. */
export async function nowAt(
  path: RelPath,
  rules: ScanRules,
  jobs: JobRunner<ScanJobs>,
): Promise<Stat | undefined | 'unknown'> {
  const dirs = [{path: parentOf(path), names: [nameOf(path)]}];
  const packed = await jobs.run('scan-names', {dirs, rules: {...rules, ignore: []}});
  for (const listing of readListings(packed)) {
    if (listing.status === 'unreadable')
      return listing.errno === ENOENT || listing.errno === ENOTDIR ? undefined : 'unknown';
    for (const listed of listing.entries()) {
      if (listed.state === 'present') return listed.stat();
      return listed.state === 'absent' ? undefined : 'unknown';
    }
  }
  return 'unknown';
}

/** Attributes that no listing carries inline; undefined when they could not be read. */
export async function largeAttrsOf(path: RelPath, jobs: JobRunner<ScanJobs>): Promise<Attrs | undefined> {
  const attrs = await jobs.run('read-attrs', {path});
  return attrs && Buffer.from(attrs.buffer, attrs.byteOffset, attrs.byteLength);
}
