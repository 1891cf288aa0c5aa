/** `verify` of a volume that is open here, with real files and a state: what is noted of what was read. */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {DEFAULTS} from '../../../src/config/link-settings.ts';
import {AgentVolume} from '../../../src/daemon/agent-volume.ts';
import {verifyVolume} from '../../../src/daemon/verify-volume.ts';
import type {VerifyOutcome} from '../../../src/control/agent-api.ts';
import {sha256} from '../../../src/model/digest.ts';
import {smallContentDigest} from '../../../src/model/digest.ts';
import {until} from '../../until.ts';
import {makeParts} from './agent-parts.ts';

test('a file that rots stays a problem while what it holds is in doubt, and is none once it holds what it held', async () => {
  const {parts, root, config} = makeParts({
    receive: undefined,
    send: [{...DEFAULTS, to: 'target', as: 'data'}],
  });
  const bytes = Buffer.from('what it held');
  writeFileSync(join(root, 'file'), bytes);
  const limits = {chokidarEntries: 0, reserve: 0};
  const volume = new AgentVolume(
    {configured: config, limits, isPeer: () => true, onEvent: () => undefined, onSuperseded: undefined},
    parts,
  );
  volume.start();
  onTestFinished(() => volume.stop('the test is over'));
  await until(() => volume.firstSource !== undefined);
  const source = volume.firstSource!;
  await source.scanned;
  const store = source.opened.volume;
  const {parentId, entry} = store.resolve('file')!;
  const {notes} = volume.sends[0]!;
  const times = {firstSeenMs: 1, lastSeenMs: 1, nextTryMs: undefined};
  notes.upsertProblem({path: 'file', code: 'corrupt-here', message: 'it rots', side: 'source', ...times});
  const verify = (): Promise<VerifyOutcome> =>
    verifyVolume(
      volume,
      {
        request: {volume: 'data', peer: undefined, isRepair: false},
        onEvent: () => undefined,
        signal: new AbortController().signal,
      },
      parts,
    );
  // It was written a moment ago: other bytes may be a store that no time tells.
  store.setContent(parentId, entry.name, sha256(Buffer.from('other bytes')));
  expect(await verify()).toMatchObject({filesRead: 1, corruptCount: 0, changedCount: 1});
  expect(notes.problemOf('source', 'file')).toMatchObject({message: 'it rots'});
  store.setContent(parentId, entry.name, smallContentDigest(bytes));
  expect(await verify()).toMatchObject({filesRead: 1, corruptCount: 0, changedCount: 0});
  expect(notes.problemOf('source', 'file')).toBeUndefined();
});
