/** What `agent --recover` says of each volume, to people and to programs. */
import {expect, test} from 'vitest';
import {linesOf, runScripted, type Script} from './scripted.ts';

const idle = {batches: 0, problems: [], reason: undefined, exitCode: 0};
const VOLUMES = [
  {...idle, volume: 'pgdata', path: '/srv/pgdata', batches: 1},
  {...idle, volume: 'www', path: '/srv/www', batches: 2, problems: ['a: something else is there by now'], exitCode: 1},
  {...idle, volume: 'late', path: '/mnt/late', reason: '/mnt/late does not exist', exitCode: 3},
];
const recovery: Script['recovery'] = {recoverAgent: () => Promise.resolve({volumes: VOLUMES, exitCode: 3})};

test('a line for each volume that had something open, and what became of it', async () => {
  const ran = await runScripted(['agent', '--recover'], {recovery});
  expect(ran.exitCode).toBe(3);
  expect(linesOf(ran.stdout)).toEqual([
    'pgdata: 1 batch that a crash had interrupted is complete (/srv/pgdata)',
    'www: 2 batches that crashes had interrupted are complete (/srv/www)',
    '  a: something else is there by now',
    'late: a batch that a crash had interrupted is not complete yet (/mnt/late): /mnt/late does not exist',
  ]);
});

test('an object for each with --json, and nothing but the result where nothing was open', async () => {
  const ran = await runScripted(['agent', '--recover', '--json'], {recovery});
  expect(linesOf(ran.stdout).map((line) => JSON.parse(line) as object)).toMatchObject([
    {event: 'recovered', volume: 'pgdata', path: '/srv/pgdata', batches: 1, problems: [], exitCode: 0},
    {event: 'recovered', volume: 'www', batches: 2, problems: ['a: something else is there by now'], exitCode: 1},
    {event: 'recovered', volume: 'late', reason: '/mnt/late does not exist', exitCode: 3},
    {event: 'result', exitCode: 3},
  ]);
  const none: Script['recovery'] = {recoverAgent: () => Promise.resolve({volumes: [], exitCode: 0})};
  const quiet = await runScripted(['agent', '--recover', '--json'], {recovery: none});
  expect(linesOf(quiet.stdout).map((line) => JSON.parse(line) as object)).toMatchObject([
    {event: 'result', exitCode: 0},
  ]);
  expect((await runScripted(['agent', '--recover'], {recovery: none})).stdout).toBe('');
});
