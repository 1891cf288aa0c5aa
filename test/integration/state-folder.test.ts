import {existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {TowlineError} from '../../src/base/errors.ts';
import {openState, type OpenState} from '../../src/daemon/state-folder.ts';
import {LinuxError} from '../../src/linux/linux-error.ts';
import {PLAIN_VIEW} from '../../src/model/view.ts';
import {openAgentFile} from '../../src/state/agent-store.ts';

test('two volumes of an agent note their roots and halts in its one file, and leave it open', () => {
  const folder = mkdtempSync(join(tmpdir(), 'towline-agent-'));
  onTestFinished(() => rmSync(folder, {recursive: true, force: true}));
  const file = openAgentFile({place: {folder: join(folder, 'state')}, bootId: ''});
  onTestFinished(() => file.close());
  const open = (name: string): OpenState => {
    const rootPath = join(folder, name);
    mkdirSync(rootPath, {recursive: true});
    return openState({
      folder: join(folder, 'state', name),
      side: 'source',
      view: PLAIN_VIEW,
      rootPath,
      isDurable: true,
      isDryRun: false,
      agent: file.notes(`volume/${name}`),
      onNotice: () => undefined,
    });
  };
  for (const name of ['a', 'b']) {
    const state = open(name);
    expect([state.isFirstContact, existsSync(join(state.folder, 'agent.db'))]).toEqual([true, false]);
    state.close();
  }
  expect(file.scopes()).toEqual(['volume/a', 'volume/b']);
  const marks = ['a', 'b'].map((name) => file.notes(`volume/${name}`).rootIdentity()?.path);
  expect(marks).toEqual(['a', 'b'].map((name) => join(folder, name)));
  rmSync(join(folder, 'a'), {recursive: true});
  mkdirSync(join(folder, 'another'));
  mkdirSync(join(folder, 'a'));
  expect(() => open('a')).toThrow(expect.objectContaining({code: 'HALTED'}));
  expect(file.notes('volume/a').haltOf()?.kind).toBeDefined();
  expect(file.notes('volume/b').haltOf()).toBeUndefined();
  open('b').close();
});

const damaged = (path: string): TowlineError =>
  new TowlineError('STATE_DAMAGED', `${path} is damaged`, {path, what: 'a row'});

test.each<[string, boolean, (folder: string) => unknown]>([
  ['damage of another file', false, (folder) => damaged(join(folder, '..', 'agent.db'))],
  ['damage that the peer tells of', false, () => damaged('data')],
  ['a disk that fails', false, () => new LinuxError('fstat', 5)],
  ['its own damage', true, (folder) => damaged(join(folder, 'volume.db'))],
  ['a damaged row of it', true, () => damaged('volume.db')],
  ['a bug', true, () => new TypeError('x is not a function')],
])('a volume that was ended by %s: its state is made anew %s', (_what, isAside, errorIn) => {
  const base = mkdtempSync(join(tmpdir(), 'towline-ended-'));
  onTestFinished(() => rmSync(base, {recursive: true, force: true}));
  const [folder, rootPath] = [join(base, 'state'), join(base, 'root')];
  mkdirSync(rootPath);
  const options = {side: 'source' as const, view: PLAIN_VIEW, isDurable: true, isDryRun: false};
  const state = openState({...options, folder, rootPath, onNotice: () => undefined});
  state.endedBy(errorIn(folder));
  state.close();
  expect(readdirSync(folder).some((name) => name.startsWith('volume.db.damaged'))).toBe(isAside);
});
