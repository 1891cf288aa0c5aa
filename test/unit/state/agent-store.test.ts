import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {describe, expect, onTestFinished, test} from 'vitest';
import type {Problem} from '../../../src/model/problem.ts';
import {openAgentFile, type AgentFile, type LinkNotes} from '../../../src/state/agent-store.ts';
import {makeAgentV1} from './agent-v1.ts';
import {newFolder} from './state-fixture.ts';

function openFile(folder: string): AgentFile {
  const file = openAgentFile({place: {folder}, bootId: 'boot-1'});
  onTestFinished(() => file.close());
  return file;
}

function open(folder: string): LinkNotes {
  return openFile(folder).notes('');
}

function problem(path: string, changes: Partial<Problem> = {}): Problem {
  return {
    path,
    code: 'unreadable',
    message: 'cannot be read',
    side: 'source',
    firstSeenMs: 1_000,
    lastSeenMs: 1_000,
    nextTryMs: 5_000,
    ...changes,
  };
}

const IDENTITY = {
  path: '/srv/caf\u00c3\u00a9',
  mark: 'ab12',
  filesystem: 'uuid',
  ino: 2,
  btimeS: 1_700_000_000,
  btimeNs: 5,
};

test('a problem keeps the time it was first seen, is paged by side and path, and due when its time has come', () => {
  const agent = open(newFolder());
  agent.upsertProblem(problem('b\u00ff'));
  agent.upsertProblem(problem('b\u00ff', {code: 'changing', firstSeenMs: 9_000, lastSeenMs: 9_000, nextTryMs: 20_000}));
  agent.upsertProblem(problem('a', {nextTryMs: undefined}));
  agent.upsertProblem(problem('a', {side: 'target', nextTryMs: 4_000}));
  expect(agent.problemCount()).toBe(3);
  const first = agent.problems(2);
  expect(first.map((one) => [one.side, one.path])).toEqual([
    ['source', 'a'],
    ['source', 'b\u00ff'],
  ]);
  expect(first[1]).toEqual(
    problem('b\u00ff', {code: 'changing', firstSeenMs: 1_000, lastSeenMs: 9_000, nextTryMs: 20_000}),
  );
  expect(agent.problems(2, first[1]).map((one) => one.side)).toEqual(['target']);
  expect([agent.clearProblem('target', 'a'), agent.clearProblem('target', 'a')]).toEqual([true, false]);
  expect(agent.problemCount()).toBe(2);
});

test('identity, halt, confirmation and link are durable without a flush', () => {
  const folder = newFolder();
  const file = openFile(folder);
  const first = file.notes('');
  const halt = {kind: 'delete-share', count: 60, limit: 50, message: 'too many', sinceMs: 7} as const;
  first.setRootIdentity(IDENTITY);
  first.halt(halt);
  first.confirm(60);
  first.setLinkBase({epoch: 3, peerStateId: Buffer.alloc(16, 1)});
  first.setPaused(true);
  file.abandon();
  const agent = open(folder);
  expect(agent.rootIdentity()).toEqual(IDENTITY);
  expect(agent.haltOf()).toEqual(halt);
  expect([agent.takeConfirmation(), agent.takeConfirmation()]).toEqual([60, 0]);
  agent.clearHalt();
  expect(agent.haltOf()).toBeUndefined();
  expect(agent.isPaused()).toBe(true);
  agent.setPaused(false);
  expect(agent.isPaused()).toBe(false);
  const lastInSync = {atMs: 5, digest: Buffer.alloc(32, 2)};
  agent.setLinkBase({ackedSeq: 9, lastInSync});
  expect(agent.linkBase()).toEqual({epoch: 3, ackedSeq: 9, peerStateId: Buffer.alloc(16, 1), lastInSync});
});

test('a confirmation given through a second opening reaches the one that runs', () => {
  const folder = newFolder();
  const running = open(folder);
  running.upsertProblem(problem('a'));
  running.flush();
  const beside = openFile(folder);
  beside.notes('').confirm(12);
  beside.notes('').clearHalt();
  beside.close();
  expect([running.takeConfirmation(), running.takeConfirmation()]).toEqual([12, 0]);
});

test('a new store has no identity, no halt, and a link at its beginning', () => {
  const agent = open(newFolder());
  expect([agent.rootIdentity(), agent.haltOf(), agent.takeConfirmation()]).toEqual([undefined, undefined, 0]);
  expect(agent.isPaused()).toBe(false);
  expect(agent.linkBase()).toEqual({epoch: 0, ackedSeq: 0, peerStateId: undefined, lastInSync: undefined});
});

test('an identity that was changed in the file is damaged, not believed', () => {
  const folder = newFolder();
  const first = openFile(folder);
  first.notes('').setRootIdentity(IDENTITY);
  first.close();
  const raw = new DatabaseSync(join(folder, 'agent.db'));
  raw.exec(`UPDATE sealed SET body = replace(body, '"ino":2', '"ino":3')`);
  raw.close();
  expect(() => open(folder).rootIdentity()).toThrow(expect.objectContaining({code: 'STATE_DAMAGED'}));
});

describe('scopes', () => {
  test('each has rows of its own, is known once something is noted, and is forgotten as a whole', () => {
    const folder = newFolder();
    const file = openFile(folder);
    expect(file.scopes()).toEqual([]);
    const [send, receive] = [file.notes('send/pgdata/db-2/pgdata'), file.notes('receive/pgdata')];
    send.halt({kind: 'delete-count', count: 1, limit: 0, message: 'm', sinceMs: 1});
    receive.setPaused(true);
    for (const notes of [send, receive]) notes.upsertProblem(problem('a'));
    file.notes('volume/logs').upsertProblem(problem('b'));
    file.flush();
    expect([send.haltOf()?.kind, receive.haltOf()?.kind]).toEqual(['delete-count', undefined]);
    expect([send.isPaused(), receive.isPaused()]).toEqual([false, true]);
    send.clearProblem('source', 'a');
    expect([send.problemCount(), receive.problemCount()]).toEqual([0, 1]);
    expect(file.scopes()).toEqual(['receive/pgdata', 'send/pgdata/db-2/pgdata', 'volume/logs']);
    receive.forget();
    file.abandon();
    const again = openFile(folder);
    expect(again.scopes()).toEqual(['send/pgdata/db-2/pgdata', 'volume/logs']);
    expect(again.notes('receive/pgdata').isPaused()).toBe(false);
    expect(again.notes('receive/pgdata').problemCount()).toBe(0);
    expect(again.notes('send/pgdata/db-2/pgdata').haltOf()?.count).toBe(1);
  });

  test('1,000 scopes share their statements and are the same objects when asked for again', () => {
    const file = openFile(newFolder());
    const scopes = Array.from({length: 1_000}, (_, index) => `send/v${index % 100}/p${Math.floor(index / 100)}/a`);
    for (const scope of scopes) file.notes(scope).setLinkBase({ackedSeq: 1});
    file.flush();
    expect(file.scopes()).toEqual([...scopes].sort());
    expect(new Set([...scopes, ...scopes].map((scope) => file.notes(scope))).size).toBe(1_000);
    expect(file.notes('send/v7/p3/a').linkBase().ackedSeq).toBe(1);
  });

  test('a row that was moved to another scope is not believed', () => {
    const folder = newFolder();
    const first = openFile(folder);
    first.notes('volume/a').setRootIdentity(IDENTITY);
    first.close();
    const raw = new DatabaseSync(join(folder, 'agent.db'));
    raw.exec(`UPDATE sealed SET scope = 'volume/b'`);
    raw.close();
    const again = openFile(folder);
    expect(() => again.notes('volume/b').rootIdentity()).toThrow(expect.objectContaining({code: 'STATE_DAMAGED'}));
  });

  test('after a rollback problems are counted anew', () => {
    const file = openFile(newFolder());
    const notes = file.notes('volume/a');
    notes.upsertProblem(problem('a'));
    file.flush();
    notes.upsertProblem(problem('b'));
    expect(notes.problemCount()).toBe(2);
    const broken = problem('c', {message: null as unknown as string});
    expect(() => notes.upsertProblem(broken)).toThrow(expect.objectContaining({code: 'BUG'}));
    expect(notes.problemCount()).toBe(1);
  });
});

describe('a file of format 1', () => {
  test('is brought up to date with every row: the same answers under the scope of the only link', () => {
    const folder = newFolder();
    makeAgentV1(folder);
    openFile(folder).abandon();
    const file = openFile(folder);
    expect(file.scopes()).toEqual(['']);
    const notes = file.notes('');
    expect(notes.rootIdentity()).toEqual(IDENTITY);
    expect(notes.haltOf()).toEqual({kind: 'delete-share', count: 60, limit: 50, message: 'too many', sinceMs: 7});
    expect([notes.takeConfirmation(), notes.takeConfirmation()]).toEqual([60, 0]);
    const lastInSync = {atMs: 5, digest: Buffer.alloc(32, 2)};
    expect(notes.linkBase()).toEqual({epoch: 3, ackedSeq: 9, peerStateId: Buffer.alloc(16, 1), lastInSync});
    expect(notes.problems(10)).toEqual([
      problem('b\u00ff', {code: 'changing', lastSeenMs: 9_000, nextTryMs: 20_000}),
      problem('a', {side: 'target', nextTryMs: undefined}),
    ]);
    file.notes('volume/a').setPaused(true);
    expect(notes.isPaused()).toBe(false);
  });

  test('whose upgrade fails half-way stays as it is', () => {
    const folder = newFolder();
    makeAgentV1(folder, 'CREATE TABLE sealed_1 (n);');
    expect(() => openFile(folder)).toThrow(expect.objectContaining({code: 'BUG'}));
    const raw = new DatabaseSync(join(folder, 'agent.db'));
    onTestFinished(() => raw.close());
    expect(raw.prepare('PRAGMA user_version').get()).toEqual({user_version: 1});
    expect(raw.prepare('SELECT count(*) AS count FROM sealed').get()).toEqual({count: 4});
    expect(raw.prepare('SELECT count(*) AS count FROM problems').get()).toEqual({count: 2});
  });

  test('that was changed behind our back is damaged after the upgrade too', () => {
    const folder = newFolder();
    makeAgentV1(folder, `UPDATE sealed SET body = replace(body, '"count":60', '"count":6') WHERE name = 'halt';`);
    expect(() => open(folder).haltOf()).toThrow(expect.objectContaining({code: 'STATE_DAMAGED'}));
  });
});

test('who only looks beside a running agent, and goes, does not close its file for it', () => {
  const place = {folder: newFolder()};
  const owner = openAgentFile({place, bootId: 'boot-1'});
  const glance = openAgentFile({place, bootId: '', isGlance: true});
  glance.notes('').confirm(3);
  glance.close();
  owner.abandon();
  const next = openAgentFile({place, bootId: 'boot-1'});
  expect([next.openedUnclean, next.notes('').takeConfirmation()]).toEqual([true, 3]);
  next.close();
});
