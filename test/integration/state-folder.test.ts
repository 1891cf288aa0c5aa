import {existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {expect, onTestFinished, test} from 'vitest';
import {TowlineError} from '../../src/base/errors.ts';
import {openState, type OpenState} from '../../src/daemon/state-folder.ts';
import {LinuxError} from '../../src/linux/linux-error.ts';
import {PLAIN_VIEW} from '../../src/model/view.ts';
import {openAgentFile} from '../../src/state/agent-store.ts';
import {entry} from '../unit/state/state-fixture.ts';

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

test.each([
  ['is looked up', (state: OpenState) => state.volume.get(state.volume.root(), 'file')],
  ['is listed', (state: OpenState) => [...state.volume.children(state.volume.root())]],
  ['is walked by', (state: OpenState) => state.volume.node(state.volume.root(), Buffer.alloc(0))],
])('a damaged row that %s names its own file, which is set aside when it is closed; no other is', (_how, read) => {
  const base = mkdtempSync(join(tmpdir(), 'towline-row-'));
  onTestFinished(() => rmSync(base, {recursive: true, force: true}));
  const rootPath = join(base, 'root');
  mkdirSync(rootPath);
  const options = {side: 'source' as const, view: PLAIN_VIEW, isDurable: true, isDryRun: false};
  const open = (name: string): OpenState =>
    openState({...options, folder: join(base, name), rootPath, onNotice: () => undefined});
  const state = open('a');
  state.volume.put(state.volume.root(), entry('file'));
  state.close();
  const file = join(base, 'a', 'volume.db');
  const raw = new DatabaseSync(file);
  raw.exec("UPDATE entries SET mode = mode + 1 WHERE name = 'file'");
  raw.close();
  const [damagedState, other] = [open('a'), open('b')];
  let error: unknown;
  try {
    read(damagedState);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toMatchObject({code: 'STATE_DAMAGED', details: {path: file}});
  for (const each of [damagedState, other]) {
    each.endedBy(error);
    each.close();
  }
  const isAside = (name: string): boolean =>
    readdirSync(join(base, name)).some((found) => found.startsWith('volume.db.damaged'));
  expect(['a', 'b'].map(isAside)).toEqual([true, false]);
});
