import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {expect, onTestFinished, test} from 'vitest';
import type {Problem} from '../../../src/model/problem.ts';
import {openAgentStore, type AgentStore} from '../../../src/state/agent-store.ts';
import {newFolder} from './state-fixture.ts';

function open(folder: string): AgentStore {
  const agent = openAgentStore({place: {folder}, bootId: 'boot-1'});
  onTestFinished(() => agent.close());
  return agent;
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
  expect(agent.dueProblems(4_000).map((one) => one.side)).toEqual(['target']);
  expect(agent.dueProblems(3_999)).toEqual([]);
  expect([agent.clearProblem('target', 'a'), agent.clearProblem('target', 'a')]).toEqual([true, false]);
  expect(agent.problemCount()).toBe(2);
});

test('identity, halt, confirmation and link are durable without a flush', () => {
  const folder = newFolder();
  const first = open(folder);
  const halt = {kind: 'delete-share', count: 60, limit: 50, message: 'too many', sinceMs: 7} as const;
  first.setRootIdentity(IDENTITY);
  first.halt(halt);
  first.confirm(60);
  first.setLinkBase({epoch: 3, peerStateId: Buffer.alloc(16, 1)});
  first.abandon();
  const agent = open(folder);
  expect(agent.rootIdentity()).toEqual(IDENTITY);
  expect(agent.haltOf()).toEqual(halt);
  expect([agent.takeConfirmation(), agent.takeConfirmation()]).toEqual([60, 0]);
  agent.clearHalt();
  expect(agent.haltOf()).toBeUndefined();
  const lastInSync = {atMs: 5, digest: Buffer.alloc(32, 2)};
  agent.setLinkBase({ackedSeq: 9, lastInSync});
  expect(agent.linkBase()).toEqual({epoch: 3, ackedSeq: 9, peerStateId: Buffer.alloc(16, 1), lastInSync});
});

test('a confirmation given through a second opening reaches the one that runs', () => {
  const folder = newFolder();
  const running = open(folder);
  running.upsertProblem(problem('a'));
  running.flush();
  const beside = open(folder);
  beside.confirm(12);
  beside.clearHalt();
  beside.close();
  expect([running.takeConfirmation(), running.takeConfirmation()]).toEqual([12, 0]);
});

test('a new store has no identity, no halt, and a link at its beginning', () => {
  const agent = open(newFolder());
  expect([agent.rootIdentity(), agent.haltOf(), agent.takeConfirmation()]).toEqual([undefined, undefined, 0]);
  expect(agent.linkBase()).toEqual({epoch: 0, ackedSeq: 0, peerStateId: undefined, lastInSync: undefined});
});

test('an identity that was changed in the file is damaged, not believed', () => {
  const folder = newFolder();
  const first = open(folder);
  first.setRootIdentity(IDENTITY);
  first.close();
  const raw = new DatabaseSync(join(folder, 'agent.db'));
  raw.exec(`UPDATE sealed SET body = replace(body, '"ino":2', '"ino":3')`);
  raw.close();
  expect(() => open(folder).rootIdentity()).toThrow(expect.objectContaining({code: 'STATE_DAMAGED'}));
});
