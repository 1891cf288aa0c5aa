/** Carries steps out on a model filesystem as an applier does, and says what it cannot do and why. */
import {joinPath, isWithin, parentOf, ROOT, type RelPath} from '../../../src/model/path.ts';
import type {Op} from '../../../src/model/op.ts';
import type {Meta} from '../../../src/model/entry.ts';
import {contentOf, type ModelFs} from './model-fs.ts';

export type Outcome = 'done' | 'parent-missing' | 'base-changed';

const ASIDE = joinPath(ROOT, '~aside');

/** The operation that a step becomes: a file as the source has it now. */
export function opOf(step: {kind: 'op'; op: Op} | {kind: 'file'; path: RelPath}, source: ModelFs): Op | undefined {
  if (step.kind === 'op') return step.op;
  const inode = source.find(step.path);
  if (inode?.type !== 'file') return undefined;
  const meta = {mode: inode.mode, uid: 0, gid: 0, mtime: {s: inode.mtime, ns: 0}, attrs: Buffer.alloc(0)};
  const bytes = Buffer.alloc(inode.value % 4, inode.value);
  const content = contentOf(inode.value);
  return {kind: 'put-file', path: step.path, meta, sizeBytes: bytes.length, content, source: {from: 'inline', bytes}};
}

export function perform(op: Op, target: ModelFs, valueOf: (path: RelPath) => number): Outcome {
  const there = target.find(op.path);
  switch (op.kind) {
    case 'set-meta':
      if (there?.type !== op.type) return 'base-changed';
      return setMeta(target, op.path, op.meta);
    case 'delete':
      if (there?.type !== op.type) return 'base-changed';
      target.remove(op.path);
      return 'done';
    case 'rename':
      return rename(op, target);
    case 'exchange':
      if (there === undefined || target.find(op.to) === undefined) return 'base-changed';
      return target.exchange(op.path, op.to) ? 'done' : 'base-changed';
    case 'link':
      return link(op, target);
    case 'make-dir':
      if (there?.type === 'dir') return setMeta(target, op.path, op.meta);
      return make(target, op, () => target.make(op.path, 'dir', 0));
    case 'put-file':
      return make(target, op, () => target.make(op.path, 'file', valueOf(op.path)));
    case 'put-symlink':
      return make(target, op, () => target.make(op.path, 'symlink', Number(op.target.slice('to '.length))));
    case 'put-special':
      throw new Error('a model has no special files');
  }
}

function make(target: ModelFs, {path, meta}: {path: RelPath; meta: Meta}, create: () => boolean): Outcome {
  if (!hasParent(target, path)) return 'parent-missing';
  target.remove(path);
  if (!create()) throw new Error(`${path} could not be made`);
  return setMeta(target, path, meta);
}

function setMeta(target: ModelFs, path: RelPath, {mode, mtime}: Meta): Outcome {
  target.setMeta(path, {mode, mtime: mtime.s});
  return 'done';
}

function link(op: Extract<Op, {kind: 'link'}>, target: ModelFs): Outcome {
  const [there, to] = [target.find(op.path), target.find(op.to)];
  if (to === undefined || to.type === 'dir') return 'base-changed';
  if (!hasParent(target, op.path)) return 'parent-missing';
  if (there === to) return 'done';
  target.remove(op.path);
  return target.link(op.path, op.to) ? 'done' : 'base-changed';
}

function rename(op: Extract<Op, {kind: 'rename'}>, target: ModelFs): Outcome {
  const there = target.find(op.path);
  if (there?.type !== op.type || isWithin(op.to, op.path)) return 'base-changed';
  const isOther = op.content !== undefined && !contentOf(there.value).equals(op.content);
  if (isOther) return 'base-changed';
  if (!hasParent(target, op.to)) return 'parent-missing';
  if (!target.rename(op.path, ASIDE)) return 'base-changed';
  target.remove(op.to);
  if (!target.rename(ASIDE, op.to)) throw new Error(`${op.path} could not be renamed to ${op.to}`);
  return 'done';
}

function hasParent(target: ModelFs, path: RelPath): boolean {
  return target.find(parentOf(path))?.type === 'dir';
}
