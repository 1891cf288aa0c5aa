/**
 * What was found out about a tree, as plain values, and how two of them differ. Pure.
 *
 * Paths are bytes: here each byte is the character of that number (latin1), and no text is ever decoded as UTF-8.
 */
import {crc32} from 'node:zlib';

/** What one tool says about one path, by the name of the fact. */
export type EntryFacts = Record<string, string>;
/** By path below the root; the root itself is ''. */
export type TreeFacts = Map<string, EntryFacts>;

/** One line for each path that only one side has, and for each fact that differs; '' as root is shown as a dot. */
export function compareFacts(tool: string, source: TreeFacts, target: TreeFacts): string[] {
  const paths = [...new Set([...source.keys(), ...target.keys()])].toSorted();
  return paths.flatMap((path) => {
    const [here, there] = [source.get(path), target.get(path)];
    const say = (what: string): string => `${tool}: ${printablePath(path)}: ${what}`;
    if (here === undefined) return [say('is on the target only')];
    if (there === undefined) return [say('is missing on the target')];
    return [...new Set([...Object.keys(here), ...Object.keys(there)])]
      .filter((name) => here[name] !== there[name])
      .map((name) => say(`${printable(name)} is ${shown(here[name])}, on the target ${shown(there[name])}`));
  });
}

/** Adds to every name of a hard-link group which name is its first: equal for all paths, the groups are equal. */
export function noteGroups(facts: TreeFacts, inodeOf: (path: string) => string): void {
  const firstOf = new Map<string, string>();
  for (const path of [...facts.keys()].toSorted()) {
    const first = firstOf.get(inodeOf(path)) ?? path;
    firstOf.set(inodeOf(path), first);
    if (first !== path) facts.get(path)!['hard link of'] = first;
  }
}

/** A tree without `.towline` in its root: that is Towline's own. */
export function withoutOwn(facts: TreeFacts): TreeFacts {
  return new Map([...facts].filter(([path]) => path !== '.towline' && !path.startsWith('.towline/')));
}

/** A path in one line of ASCII: what is not printable as \xNN, long names by their beginning and their CRC-32. */
export function printablePath(path: string): string {
  const names = path.split('/').map((name) => {
    const shown = printable(name);
    if (shown.length <= 40) return shown;
    return `${shown.slice(0, 16)}~${crc32(Buffer.from(name, 'latin1')).toString(16).padStart(8, '0')}`;
  });
  return path === '' ? '.' : names.join('/');
}

/** Bytes in one line of ASCII: what is not printable as \xNN. */
export function printable(bytes: string): string {
  return bytes.replaceAll(/[^ -[\]-~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function shown(value: string | undefined): string {
  if (value === undefined) return 'absent';
  return value.length > 100 ? `'${printable(value.slice(0, 80))}'… (${value.length})` : `'${printable(value)}'`;
}
