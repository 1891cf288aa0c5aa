/** Letting a halted pair go on: only with the count that was shown. */
import {expect, test} from 'vitest';
import type {Halt} from '../../../src/daemon/sync-api.ts';
import {linesOf, runScripted} from './scripted.ts';

const CONFIRM = ['confirm', '/nonexistent/a', "/nonexistent/it's b"];
const HALT: Halt = {kind: 'delete-share', count: 1_234, message: '1,234 of 2,000 entries would be deleted'};

test('asks on a terminal and takes the count as it was printed', async () => {
  for (const answer of ['1234', ' 1,234 ']) {
    const ran = await runScripted(CONFIRM, {halt: HALT, answer});
    expect(ran.exitCode).toBe(0);
    expect(ran.confirmed).toMatchObject([{source: '/nonexistent/a', target: "/nonexistent/it's b", count: 1_234}]);
    expect(linesOf(ran.stdout)).toEqual([
      'Halted: 1,234 of 2,000 entries would be deleted',
      'Confirmed, it may delete 1,234 entries from DST (into the trash)',
      'Confirmed: the next towline sync goes on',
    ]);
  }
});

test.each(['', 'y', '1233', 'no'])('the answer "%s" changes nothing and exits with 8', async (answer) => {
  const ran = await runScripted(CONFIRM, {halt: HALT, answer});
  expect(ran).toMatchObject({exitCode: 8, confirmed: [], stderr: 'Error: not confirmed, nothing was changed\n'});
});

test('without a terminal says what to type and exits with 8', async () => {
  const ran = await runScripted(CONFIRM, {halt: HALT});
  expect(ran).toMatchObject({exitCode: 8, confirmed: []});
  expect(ran.stderr).toContain(`towline confirm /nonexistent/a '/nonexistent/it'\\''s b' --yes 1234`);
});

test('--yes with the count goes on, with another count exits with 8', async () => {
  const right = await runScripted([...CONFIRM, '--yes', '1234'], {halt: HALT});
  expect(right).toMatchObject({exitCode: 0, confirmed: [{count: 1_234}]});
  const wrong = await runScripted([...CONFIRM, '--yes', '1235'], {halt: HALT});
  expect(wrong).toMatchObject({exitCode: 8, confirmed: []});
  expect(wrong.stderr).toContain('it is 1234 now');
});

test('where nothing is halted there is nothing to do, and a count is refused', async () => {
  expect(await runScripted(CONFIRM)).toMatchObject({exitCode: 0, confirmed: []});
  expect(await runScripted([...CONFIRM, '--yes', '5'])).toMatchObject({exitCode: 8, confirmed: []});
});

test('with --json the halt is an object, and nobody is asked', async () => {
  const ran = await runScripted([...CONFIRM, '--json'], {halt: HALT, answer: '1234'});
  expect(ran).toMatchObject({exitCode: 8, confirmed: []});
  const events = linesOf(ran.stdout).map((line) => JSON.parse(line) as object);
  expect(events[0]).toMatchObject({event: 'halt', halted: true, kind: 'delete-share', count: 1_234});
  expect(events.at(-1)).toMatchObject({event: 'result', exitCode: 8});
});
