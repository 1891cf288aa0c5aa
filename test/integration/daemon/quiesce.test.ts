/** What becomes of an application that is held still, when the volume is closed, or its note cannot be read. */
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {Quiesce} from '../../../src/daemon/quiesce.ts';
import {openAgentFile} from '../../../src/state/agent-store.ts';
import {SILENT_LOG} from '../../../src/telemetry/log.ts';
import {makeTmpDir} from '../../tmp.ts';
import {until} from '../../until.ts';

/** With hooks that are shell scripts; a `resume` writes `resumed`. */
function quiesceIn(folder: string, script: string): Quiesce {
  const file = openAgentFile({place: {folder}, bootId: ''});
  onTestFinished(() => file.close());
  const hook = (text: string) => ({run: ['sh', '-c', text], timeoutMs: 10_000, onFailure: 'stop' as const});
  return new Quiesce(
    {volume: 'data', hooks: {quiesce: hook(script), resume: hook(`echo again >> ${folder}/resumed`)}},
    {
      ...{notes: file.notes('volume/data'), clock: systemClock, log: SILENT_LOG},
      path: () => undefined,
      onChange: () => undefined,
    },
  );
}

const resumedIn = (folder: string): string => readFileSync(join(folder, 'resumed'), 'utf8');

test('closed while its quiesce hook runs: nothing was copied, which is no success, and it is resumed', async () => {
  const folder = makeTmpDir();
  const [held, goOn] = [join(folder, 'held'), join(folder, 'go-on')];
  const quiesce = quiesceIn(folder, `touch ${held}; while [ ! -e ${goOn} ]; do sleep 0.01; done`);
  let hasWorked = false;
  const during = quiesce.during([], undefined, () => Promise.resolve((hasWorked = true)));
  during.catch(() => undefined);
  await until(() => existsSync(held));
  const stopped = quiesce.stop();
  writeFileSync(goOn, '');
  await expect(during).rejects.toMatchObject({code: 'PEER_LOST', message: expect.stringContaining('flush it again')});
  await stopped;
  expect([hasWorked, resumedIn(folder), quiesce.notices]).toEqual([false, 'again\n', []]);
});

test('a note that is damaged counts as one: it is resumed at the start, and then forgotten', async () => {
  const folder = makeTmpDir();
  const file = openAgentFile({place: {folder}, bootId: ''});
  file.notes('volume/data').setQuiesced(1);
  file.close();
  const db = new DatabaseSync(join(folder, 'agent.db'));
  db.exec("UPDATE sealed SET body = '{}' WHERE name = 'quiesced'");
  db.close();
  const quiesce = quiesceIn(folder, 'true');
  expect(quiesce.notices).toEqual([expect.stringContaining('cannot be read')]);
  await quiesce.recover();
  expect([resumedIn(folder), quiesce.notices]).toEqual(['again\n', []]);
});
