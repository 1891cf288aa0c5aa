/**
 * On a filesystem that takes names which differ in case alone for one: which operations of a batch would meet another
 * entry under their name. They are refused, and so is what would come into a folder that is not there. Pure.
 *
 * Invariant: no operation that is let through reaches an entry of another name, as far as the state knows all names.
 */
import type {Failed, Op} from '../model/op.ts';
import {bytesOf, nameOf, parentOf, ROOT, showPath, type Name, type RelPath} from '../model/path.ts';
import {failure} from './failure.ts';

/** What is asked of the state. */
export interface NameStore {
  dirIdOf(path: RelPath): number | undefined;
  children(parentId: number): Iterable<{name: Name}>;
}

/** @returns refused operations by index */
export function nameClashes(ops: readonly Op[], store: NameStore): Map<number, Failed> {
  const dirs = new Map<RelPath, Map<string, Name> | undefined>();
  const namesIn = (dir: RelPath): Map<string, Name> | undefined => {
    if (!dirs.has(dir)) dirs.set(dir, knownNames(dir, store));
    return dirs.get(dir);
  };
  const refused = new Map<number, Failed>();
  for (const [index, op] of ops.entries()) {
    const fault = faultOf(op, namesIn);
    if (fault !== undefined) refused.set(index, fault);
    else note(op, namesIn, dirs);
  }
  return refused;
}

type NamesIn = (dir: RelPath) => Map<string, Name> | undefined;

function knownNames(dir: RelPath, store: NameStore): Map<string, Name> | undefined {
  const dirId = store.dirIdOf(dir);
  if (dirId === undefined) return undefined;
  return new Map(Array.from(store.children(dirId), ({name}) => [folded(name), name]));
}

function faultOf(op: Op, namesIn: NamesIn): Failed | undefined {
  const path = op.kind === 'rename' || op.kind === 'exchange' ? op.to : op.path;
  if (path === ROOT || op.kind === 'delete') return undefined;
  const [parent, name] = [parentOf(path), nameOf(path)];
  const names = namesIn(parent);
  if (names === undefined) return failure('parent-missing', path, `its folder ${showPath(parent)} is not there`);
  const there = names.get(folded(name));
  const isItself = op.kind === 'rename' && parentOf(op.path) === parent && there === nameOf(op.path);
  if (there === undefined || there === name || isItself) return undefined;
  const what = `the target's filesystem takes it for ${showPath(there)}, which is there: they differ in case alone`;
  return failure('not-carried', path, `${what}; rename one of them on the source`);
}

/** What is there once an operation is done. */
function note(op: Op, namesIn: NamesIn, dirs: Map<RelPath, Map<string, Name> | undefined>): void {
  if (op.path === ROOT || op.kind === 'set-meta' || op.kind === 'exchange') return;
  if (op.kind === 'delete' || op.kind === 'rename') namesIn(parentOf(op.path))?.delete(folded(nameOf(op.path)));
  if (op.kind === 'delete') return;
  const path = op.kind === 'rename' ? op.to : op.path;
  namesIn(parentOf(path))?.set(folded(nameOf(path)), nameOf(path));
  const isDir = op.kind === 'make-dir' || (op.kind === 'rename' && op.type === 'dir');
  // What is in a folder that has just come here the state knows under another path, if at all.
  if (isDir && namesIn(path) === undefined) dirs.set(path, new Map());
}

/** Near enough to what filesystems do; what they take for one beyond it fails when it is made. */
function folded(name: Name): string {
  try {
    return strictUtf8.decode(bytesOf(name)).normalize('NFD').toUpperCase().toLowerCase();
  } catch {
    return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase()); // other bytes are letters of no known script
  }
}

const strictUtf8 = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});
