import {describe, expect, test} from 'vitest';
import {attrsDigest, encodeAttrs, NO_ATTRS} from '../../../src/model/attrs.ts';
import {sha256} from '../../../src/model/digest.ts';
import type {EntryType, Meta} from '../../../src/model/entry.ts';
import type {OwnTreeEntry} from '../../../src/model/tree.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import {planMeta, planPath, type Step} from '../../../src/reconcile/plan-path.ts';

const META: Meta = {mode: 0o644, uid: 1, gid: 2, mtime: {s: 1_700_000_000, ns: 123_456_789}, attrs: NO_ATTRS};

const ATTRS = encodeAttrs([{name: 'user.x', value: Buffer.from('1')}]);

function tree(type: EntryType, changes: Partial<OwnTreeEntry> = {}): OwnTreeEntry {
  return {
    name: 'x',
    type,
    meta: META,
    sizeBytes: type === 'file' ? 5 : 0,
    content: type === 'file' ? sha256(Buffer.from('x')) : undefined,
    attrs: undefined,
    rdev: 0,
    linkTarget: type === 'symlink' ? 'to' : '',
    subtree: undefined,
    count: 0,
    isIncomplete: false,
    ...changes,
  };
}

/** `op kind` or `file`, with what it destroys. */
function shown(step: Step | undefined): string {
  if (step === undefined) return 'nothing';
  return `${step.kind === 'op' ? step.op.kind : 'file'}, destroys ${step.destroys}`;
}

const filledDir = {count: 7};

describe('what a path needs', () => {
  test.each([
    {title: 'neither side has it', want: undefined, have: undefined, step: 'nothing'},
    {title: 'a file that is too much', want: undefined, have: tree('file'), step: 'delete, destroys 1'},
    {
      title: 'a directory of 7 that is too much',
      want: undefined,
      have: tree('dir', filledDir),
      step: 'delete, destroys 8',
    },
    {title: 'a new file', want: tree('file'), have: undefined, step: 'file, destroys 0'},
    {title: 'a new directory', want: tree('dir'), have: undefined, step: 'make-dir, destroys 0'},
    {title: 'a new symlink', want: tree('symlink'), have: undefined, step: 'put-symlink, destroys 0'},
    {title: 'an equal file', want: tree('file'), have: tree('file'), step: 'nothing'},
    {
      title: 'another content',
      want: tree('file'),
      have: tree('file', {content: sha256(Buffer.from('y'))}),
      step: 'file, destroys 0',
    },
    {
      title: 'a content that was read on neither side',
      want: tree('file', {content: undefined}),
      have: tree('file', {content: undefined}),
      step: 'file, destroys 0',
    },
    {
      title: 'F16 a file cut to 0 bytes',
      want: tree('file', {sizeBytes: 0, content: sha256(Buffer.from(''))}),
      have: tree('file'),
      step: 'file, destroys 1',
    },
    {
      title: 'a file that was empty before',
      want: tree('file', {sizeBytes: 0, content: undefined}),
      have: tree('file', {sizeBytes: 0}),
      step: 'file, destroys 0',
    },
    {
      title: 'A7 a directory of 7 becomes a file',
      want: tree('file'),
      have: tree('dir', filledDir),
      step: 'file, destroys 8',
    },
    {
      title: 'A7 a directory of 7 becomes a symlink',
      want: tree('symlink'),
      have: tree('dir', filledDir),
      step: 'put-symlink, destroys 8',
    },
    {title: 'A7 a file becomes a directory', want: tree('dir'), have: tree('file'), step: 'make-dir, destroys 0'},
    {title: 'a symlink becomes a file', want: tree('file'), have: tree('symlink'), step: 'file, destroys 0'},
    {
      title: 'another link target',
      want: tree('symlink', {linkTarget: 'other'}),
      have: tree('symlink'),
      step: 'put-symlink, destroys 0',
    },
    {title: 'a new FIFO', want: tree('fifo'), have: undefined, step: 'put-special, destroys 0'},
    {
      title: 'a FIFO where the target has a file',
      want: tree('fifo'),
      have: tree('file'),
      step: 'put-special, destroys 0',
    },
    {title: 'a device, which does not travel', want: tree('char'), have: undefined, step: 'nothing'},
    {title: 'a device where the target has a file', want: tree('char'), have: tree('file'), step: 'delete, destroys 1'},
    {title: 'a device that only the target has', want: undefined, have: tree('char'), step: 'nothing'},
  ])('$title: $step', ({want, have, step}) => {
    expect(shown(planPath('d/x', want, have, PLAIN_VIEW))).toBe(step);
  });
});

describe('metadata in a view', () => {
  const other: Meta = {...META, mtime: {...META.mtime, ns: 123_456_999}};
  test.each([
    {title: 'equal', meta: META, view: PLAIN_VIEW, type: 'file', isChanged: false},
    {title: '210 ns apart at a precision of 1 ns', meta: other, view: PLAIN_VIEW, type: 'file', isChanged: true},
    {
      title: '210 ns apart at a precision of 1 µs',
      meta: other,
      view: {...PLAIN_VIEW, timePrecisionNs: 1_000},
      type: 'file',
      isChanged: false,
    },
    {title: 'another owner', meta: {...META, uid: 9}, view: PLAIN_VIEW, type: 'dir', isChanged: true},
    {
      title: 'another owner where owners are not compared',
      meta: {...META, uid: 9},
      view: {...PLAIN_VIEW, owners: false},
      type: 'dir',
      isChanged: false,
    },
    {title: 'an attribute', meta: {...META, attrs: ATTRS}, view: PLAIN_VIEW, type: 'dir', isChanged: true},
    {title: 'a setuid bit', meta: {...META, mode: 0o4644}, view: PLAIN_VIEW, type: 'file', isChanged: true},
    {
      title: 'permissions of a symlink',
      meta: {...META, mode: 0o777},
      view: PLAIN_VIEW,
      type: 'symlink',
      isChanged: false,
    },
  ] as const)('$title: changed $isChanged', ({meta: {attrs, ...meta}, view, type, isChanged}) => {
    const step = planMeta('x', type, META, {meta, attrs: attrsDigest(attrs)}, view);
    expect(step?.kind === 'op' ? step.op : undefined).toEqual(
      isChanged ? {kind: 'set-meta', path: 'x', type, meta: META} : undefined,
    );
  });
});
