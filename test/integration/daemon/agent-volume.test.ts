/** A volume of an agent when something is in its way: its notes cannot be written, or a peer is looking at it. */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {expect, onTestFinished, test} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import {AgentVolume} from '../../../src/daemon/agent-volume.ts';
import {serveComparison} from '../../../src/daemon/compare-copies.ts';
import {offeredView} from '../../../src/daemon/own-limits.ts';
import {viewDigest} from '../../../src/model/view.ts';
import {SessionLinks} from '../../../src/session/session-links.ts';
import {Session} from '../../../src/session/session.ts';
import {holdLock, volumeLockPath} from '../../../src/volume/lock.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {OPEN_LINK} from '../../sync/hostile-source.ts';
import {until} from '../../until.ts';
import {channelPair} from '../../unit/session/channel-pair.ts';
import {makeParts, type Made} from './agent-parts.ts';

function startVolume({parts, config}: Made): AgentVolume {
  const limits = {chokidarEntries: 0, reserve: 0};
  const volume = new AgentVolume(
    {configured: config, limits, isPeer: () => true, onEvent: () => undefined, onSuperseded: undefined},
    parts,
  );
  volume.start();
  onTestFinished(() => volume.stop('the test is over'));
  return volume;
}

test('a halt that cannot be noted, as agent.db is in use, ends nothing and is noted at a later try', async () => {
  const made = makeParts();
  const volume = startVolume(made);
  await until(() => volume.target !== undefined);
  const other = new DatabaseSync(join(made.parts.stateFolder, 'agent.db'));
  onTestFinished(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  made.parts.engines.findRoot = () =>
    Promise.reject(new TowlineError('ROOT_MISSING', `${made.root} does not exist`, {path: made.root}));
  await volume.stop('it is looked for again');
  const again = startVolume(made);
  await until(() => again.report().reason?.includes('it is a known volume') === true);
  expect(again.notes.haltOf()).toBeUndefined();
  other.exec('ROLLBACK');
  await until(() => again.notes.haltOf()?.kind === 'root-missing');
});

test('a peer that looks at a copy is sent away when the volume is paused, and lets go of it', async () => {
  const made = makeParts({receive: undefined});
  writeFileSync(join(made.root, 'file'), 'file');
  const volume = startVolume(made);
  const [left, right] = channelPair().map((channel) => new Session({name: 'end'}, {channel}));
  const linksOf = (session: Session): SessionLinks =>
    new SessionLinks({
      session,
      onOpen: (_request, opened) => void serveComparison(volume, opened, made.parts),
      onAgentMessage: () => undefined,
    });
  const port = linksOf(left!).newSource(undefined);
  linksOf(right!);
  onTestFinished(() => left!.close('the test is over'));
  await Promise.all([left!.ready(), right!.ready()]);
  const heard: Message[] = [];
  port.onMessage = (message) => void heard.push(message);
  const view = offeredView(made.config);
  port.send({...OPEN_LINK, volume: 'data', view, viewDigest: viewDigest(view), isDryRun: true});
  await until(() => heard.some(({kind}) => kind === 'link-opened'));
  const root = volume.notes.rootIdentity()!;
  expect(() => holdLock(volumeLockPath(root), made.root)).toThrow('in use');
  await volume.pause();
  holdLock(volumeLockPath(root), made.root).release();
  await until(() => heard.some((message) => message.kind === 'link-refused' && message.message === 'paused'));
});
