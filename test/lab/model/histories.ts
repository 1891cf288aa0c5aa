/** Random histories of a small tree: few names, so that they meet. */
import fc from 'fast-check';
import {joinPath, ROOT, type RelPath} from '../../../src/model/path.ts';
import type {ModelFs} from './model-fs.ts';

const NAMES = ['a', 'b', 'c', 'd\xff'];
const DEPTH_MAX = 3;
const KINDS = [
  'file',
  'file',
  'dir',
  'symlink',
  'write',
  'meta',
  'remove',
  'rename',
  'rename',
  'exchange',
  'link',
] as const;

/** One change; what it is done to depends on what is there. */
export interface Event {
  kind: (typeof KINDS)[number] | 'hide' | 'show';
  at: number;
  to: number;
  value: number;
}

export interface History {
  before: Event[];
  /** What happens on the source after both sides were equal … */
  now: Event[];
  /** … and on the target, which nobody told. */
  foreign: Event[];
  isLive: boolean;
}

export function events(options: {maxLength: number; withUnreadable?: boolean}): fc.Arbitrary<Event[]> {
  const kinds = options.withUnreadable === true ? ([...KINDS, 'hide', 'hide', 'show'] as const) : KINDS;
  const event = fc.record({
    kind: fc.constantFrom(...kinds),
    at: fc.nat(63),
    to: fc.nat(63),
    value: fc.nat(7),
  });
  return fc.array(event, {maxLength: options.maxLength});
}

/** @returns whether anything happened */
export function play(fs: ModelFs, {kind, at, to, value}: Event): boolean {
  const paths = fs.paths();
  const dirs = [ROOT, ...paths.filter((path) => fs.find(path)?.type === 'dir')];
  const there = paths[at % Math.max(1, paths.length)] ?? 'a';
  const place = newPlace(dirs, to);
  switch (kind) {
    case 'file':
    case 'dir':
    case 'symlink':
      return fs.make(place, kind, value);
    case 'write':
      return fs.write(there, value);
    case 'meta':
      return fs.setMeta(there, {mode: value % 2 === 0 ? 0o600 : 0o755, mtime: 500 + value});
    case 'remove':
      return fs.remove(there);
    case 'rename':
      return fs.rename(there, to % 3 === 0 ? (paths[to % Math.max(1, paths.length)] ?? place) : place);
    case 'exchange':
      return fs.exchange(there, paths[to % Math.max(1, paths.length)] ?? 'a');
    case 'link':
      return fs.link(place, there);
    case 'hide':
      return fs.setReadable(there, false);
    case 'show':
      return fs.setReadable(there, true);
  }
}

function newPlace(dirs: readonly RelPath[], number: number): RelPath {
  const dir = dirs[number % dirs.length] as RelPath;
  const name = NAMES[Math.floor(number / dirs.length) % NAMES.length] as string;
  return dir.split('/').length >= DEPTH_MAX ? joinPath(ROOT, name) : joinPath(dir, name);
}
