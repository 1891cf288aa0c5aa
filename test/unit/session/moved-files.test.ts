/** Files that were moved and changed: what the target is asked for, and when. */
import {describe, expect, test} from 'vitest';
import {sha256} from '../../../src/model/digest.ts';
import {metaOf} from '../../../src/model/entry.ts';
import {ROOT} from '../../../src/model/path.ts';
import {treeEntryOf} from '../../../src/model/tree.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import type {Step} from '../../../src/reconcile/plan-path.ts';
import {entry} from '../state/state-fixture.ts';
import {LinkPair} from './link-pair.ts';
import {SenderAlone, type SenderAloneOptions} from './sender-alone.ts';

/** The target has `old` with other bytes; here it is `new` by now. */
function moved(options: SenderAloneOptions = {}): SenderAlone & {step: Step} {
  const alone = new SenderAlone(options);
  const have = {...treeEntryOf(entry('old', {sizeBytes: 9}), PLAIN_VIEW), count: 0};
  alone.entries.set('new', entry('new', {sizeBytes: 10, content: undefined}));
  return Object.assign(alone, {step: {kind: 'file', path: 'new', have, destroys: 0, from: 'old'} as const});
}

describe('files that were moved and touched', () => {
  /** The target has `old-N` with the same bytes, and older. */
  function touched(...names: [from: string, to: string][]): SenderAlone & {steps: Step[]} {
    const alone = new SenderAlone();
    const steps = names.map(([from, path]): Step => {
      const now = entry(path, {sizeBytes: 10, content: undefined, mode: 0o600});
      alone.entries.set(path, now);
      const content = sha256(Buffer.alloc(10, path));
      return {
        kind: 'file',
        path,
        have: {...treeEntryOf({...now, mode: 0o644, content}, PLAIN_VIEW), count: 0},
        destroys: 0,
        from,
      };
    });
    return Object.assign(alone, {steps});
  }

  test('100 at once are all renamed before the metadata of the first is set', async () => {
    const {sender, sent, steps} = touched(
      ...Array.from({length: 100}, (_, index): [string, string] => [`old-${index}`, `new-${index}`]),
    );
    for (const step of steps) await sender.add(step);
    await sender.settle();
    expect(sent()).toEqual([
      ...steps.map((_, index) => `rename old-${index}`),
      ...steps.map(({path}) => `set-meta ${path}`),
    ]);
  });

  test('of which one takes the name that another leaves, and what lies between them, stay in their order', async () => {
    const {sender, sent, steps} = touched(['b', 'c'], ['a', 'b'], ['d', 'e']);
    const [first, second, third] = steps as [Step, Step, Step];
    await sender.add(first);
    await sender.add(second);
    await sender.add({
      kind: 'op',
      path: 'd',
      op: {kind: 'rename', path: 'x', to: 'd', type: 'file', content: undefined},
      destroys: 0,
    });
    await sender.add(third);
    await sender.settle();
    expect(sent()).toEqual(['rename b', 'set-meta c', 'rename a', 'set-meta b', 'rename x', 'rename d', 'set-meta e']);
  });
});

describe('a file that was moved and changed', () => {
  test('goes from under its old name once it has arrived, and who waits for all waits for that', async () => {
    const {sender, batches, step} = moved();
    await sender.add(step);
    await sender.settle();
    const sent = batches.map((ops) => ops.map(({kind, path}) => `${kind} ${path}`));
    expect(sent).toEqual([['put-file new'], ['delete old']]);
    expect(sender.pendingCount).toBe(0);
  });

  test('stays under its old name when something else was sent there meanwhile, which may have moved on', async () => {
    const {sender, batches, step} = moved();
    await sender.add(step);
    await sender.add({
      kind: 'op',
      path: 'old',
      op: {kind: 'put-symlink', path: 'old', meta: metaOf(entry('old')), target: 'x'},
      destroys: 0,
    });
    await sender.settle();
    expect(batches.flat().map(({kind, path}) => `${kind} ${path}`)).not.toContain('delete old');
  });

  test('H1 that the target has no room for stays there under its old name', async () => {
    const {sender, sent, failed, step} = moved({
      answer: ({kind}) =>
        kind === 'put-file' ? {status: 'failed', code: 'no-space', message: 'no room for new'} : undefined,
    });
    await sender.add(step);
    await sender.settle();
    expect([sent(), failed]).toEqual([['put-file new'], ['no-space new']]);
    expect(sender.pendingCount).toBe(0);
  });

  test('that is sent again, as its base was another, goes from under its old name after that', async () => {
    let tries = 0;
    const {sender, sent, step} = moved({
      answer: ({kind, path}) =>
        kind === 'put-file' && tries++ === 0 ? {status: 'failed', code: 'base-changed', message: path} : undefined,
    });
    await sender.add(step);
    await sender.settle();
    expect(sent()).toEqual(['put-file new', 'put-file new', 'delete old']);
  });

  test('stays away from its old name when another file came there meanwhile', async () => {
    const alone = moved({meanwhile: () => void alone.entries.set('old', entry('old', {sizeBytes: 3}))});
    await alone.sender.add(alone.step);
    await alone.sender.settle();
    expect(alone.sent()).toEqual(['put-file new']);
    await alone.sender.add({kind: 'file', path: 'old', have: undefined, destroys: 0});
    await alone.sender.settle();
    expect(alone.sent()).toEqual(['put-file new', 'put-file old']);
  });

  test('and whose old name another file takes after it has arrived makes room for that before it comes', async () => {
    const {sender, sent, entries, step} = moved();
    await sender.add(step);
    await sender.kick();
    await expect.poll(() => sent().at(-1), {interval: 0}).toBe('delete old');
    entries.set('old', entry('old', {sizeBytes: 3}));
    await sender.add({kind: 'file', path: 'old', have: undefined, destroys: 0});
    await sender.settle();
    expect(sent()).toEqual(['put-file new', 'delete old', 'put-file old']);
  });

  test('of which a crash left both names goes from under the old one with the next comparison', async () => {
    const pair = await new LinkPair().open();
    const file = entry('new', {ino: 77});
    pair.source.put(pair.source.dirIdOf(ROOT) as number, file);
    for (const name of ['old', 'new']) pair.target.put(pair.target.dirIdOf(ROOT) as number, {...file, name});
    await pair.link.catchUp();
    expect(pair.applied.filter((op) => op !== 'set-meta ')).toEqual(['delete old']);
    expect((await pair.link.cut()).isEqual).toBe(true);
  });
});
