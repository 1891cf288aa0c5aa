/**
 * What must hold after a kill: at once, after the roll-forward, and after the next run. Facts come from the judge's walk.
 */
import {existsSync, lstatSync, readdirSync, type Stats} from 'node:fs';
import {join} from 'node:path';
import type {JournalRecord} from '../../src/apply/journal-record.ts';
import type {EntryFacts, TreeFacts} from '../judge/facts.ts';

/**
 * Before anything is repaired: every path is its old or its new version, and grants no more than both.
 * @param moved what was in a directory that is renamed, by its path there: a directory goes with all of it as it was
 */
export function checkWhole(old: TreeFacts, wanted: TreeFacts, now: TreeFacts, moved: TreeFacts = new Map()): string[] {
  const paths = new Set([...old.keys(), ...wanted.keys(), ...now.keys()]);
  return [...paths].flatMap((path) => {
    if (path === '') return [];
    const versions = [old.get(path), wanted.get(path)];
    const found = now.get(path);
    if (found === undefined) return versions.every((version) => version !== undefined) ? [`${path}: is missing`] : [];
    if (isMade(found, versions)) return [];
    const known = [...versions, moved.get(path)].filter((version) => version !== undefined);
    if (known.length === 0) return [`${path}: nobody has this`];
    if (known.some((version) => isVersion(found, version, known))) return [];
    return [`${path}: is ${JSON.stringify(found)}, neither ${JSON.stringify(known)}`];
  });
}

/** A directory that is being made: closed to everybody until it has its owner, its attributes and its mode. */
function isMade(found: EntryFacts, [old, wanted]: (EntryFacts | undefined)[]): boolean {
  return old === undefined && wanted?.['type'] === 'd' && found['type'] === 'd' && found['mode'] === '700';
}

/** Metadata is set in place, one thing after the other; each is the old or the new one, and rights are never wider. */
function isVersion(found: EntryFacts, version: EntryFacts, known: readonly EntryFacts[]): boolean {
  for (const name of ['type', 'content', 'link', 'size', 'device']) if (found[name] !== version[name]) return false;
  const same = known.filter((each) => each['type'] === found['type'] && each['content'] === found['content']);
  const isOneOf = (name: string): boolean => same.some((each) => each[name] === found[name]);
  const modes = same.map((each) => Number.parseInt(each['mode']!, 8));
  const narrowest = modes.reduce((all, mode) => all & mode);
  const mode = Number.parseInt(found['mode']!, 8);
  if (!modes.includes(mode) && (mode & ~narrowest & 0o7777) !== 0) return false;
  if (found['type'] !== 'd' && !isOneOf('mtime')) return false;
  const attributes = new Set(
    [found, ...same].flatMap((each) => Object.keys(each).filter((name) => name.startsWith('xattr '))),
  );
  return ['uid', 'gid', ...attributes].every(isOneOf);
}

/** After the roll-forward each record of the journal is done. */
export function checkRolledForward(root: string, records: readonly JournalRecord[]): string[] {
  const inoAt = (path: string): number | undefined => statOf(join(root, path))?.ino;
  return records.flatMap((record) => {
    const fault = (what: string): string[] => [`${record.kind} of ${record.path}: ${what}`];
    switch (record.kind) {
      case 'install':
        return inoAt(record.path) === record.ino ? [] : fault('not installed');
      case 'patch':
        return inoAt(record.path) === record.base.ino ? [] : fault('another file is there');
      case 'delete':
        return inoAt(record.path) === record.ino ? fault('still there') : [];
      case 'rename':
        return inoAt(record.to) === record.ino && inoAt(record.path) !== record.ino ? [] : fault('not renamed');
      case 'exchange':
        return inoAt(record.to) === record.ino && inoAt(record.path) === record.toIno ? [] : fault('not exchanged');
      case 'meta': {
        const mode = statOf(join(root, record.path))?.mode;
        return record.type === 'symlink' || (mode !== undefined && (mode & 0o7777) === record.meta.mode)
          ? []
          : fault('not set');
      }
    }
  });
}

/**
 * Before the roll-forward, where all that a batch does is to replace files: its entries are staged in order, and switched
 * in order once it is journalled. So without a row none of them has left the staging folder.
 */
export function checkJournalled(staging: string, open: readonly JournalRecord[]): string[] {
  if (open.length > 0 || !existsSync(staging)) return [];
  const indexes = readdirSync(staging).flatMap((name) => {
    const [, index] = /^b\d+-(\d+)$/.exec(name) ?? [];
    return index === undefined ? [] : [Number(index)];
  });
  const first = Math.min(...indexes);
  return indexes.length === 0 || first === 0
    ? []
    : [`half a batch, and no row: entry ${first} is the first that is still staged`];
}

/** At the end: what was on the target is there still, or in the trash; and nothing is staged any more. */
export function checkKept(old: TreeFacts, now: TreeFacts, trash: TreeFacts): string[] {
  const contents = new Set([...now.values(), ...trash.values()].map(({content}) => content));
  return [...old].flatMap(([path, {type, content}]) =>
    type === 'f' && !contents.has(content) ? [`${path}: its old version is neither there nor in the trash`] : [],
  );
}

export function checkSwept(staging: string): string[] {
  return existsSync(staging) ? readdirSync(staging).map((name) => `staged and left: ${name}`) : [];
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, {throwIfNoEntry: false});
}
