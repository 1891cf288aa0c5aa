import {mkdirSync, symlinkSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {systemClock, type Clock} from '../../../src/base/clock.ts';
import {ContainerMounts} from '../../../src/engine/container-mounts.ts';
import {EngineClient} from '../../../src/engine/engine-client.ts';
import {RealPaths} from '../../../src/engine/real-path.ts';
import {makeTmpDir} from '../../tmp.ts';
import {raw, standIn, type Answer, type StandIn} from './stand-in.ts';

const ROOT = '/v/data/_data';
const LIST = '/containers/json?all=1';
const idOf = (digit: string): string => digit.repeat(64);

/** A container with the volume at /data and a tmpfs at `/data/BELOW`. */
const mounting = (id: string, below: string, source = ROOT): Record<string, Answer> => ({
  [`/containers/${id}/json`]: {
    Id: id,
    Name: `/c-${below}`,
    Mounts: [{Type: 'volume', Name: 'data', Source: source, Destination: '/data'}],
    HostConfig: {Tmpfs: {[`/data/${below}`]: ''}},
  },
});
const listed = (...states: [string, string][]): object => states.map(([Id, State]) => ({Id, State}));

function mountsOf(engine: StandIn, isConfigured = true) {
  let nowMs = 0;
  const clock: Clock = {...systemClock, monotonicMs: () => nowMs};
  const client = new EngineClient({...engine.at, isConfigured}, {deadlineMs: 5_000});
  const mounts = new ContainerMounts({}, {client, clock, realPaths: new RealPaths({clock: systemClock})});
  return {mounts, pass: (ms: number) => (nowMs += ms)};
}

const listings = ({asked}: StandIn): number => asked.filter((path) => path.endsWith(LIST)).length;

test('F13 running, paused, restarting and unknown states count; created, exited and dead ones do not', async () => {
  const states = ['running', 'paused', 'restarting', 'odd', 'created', 'exited', 'dead', 'removing'];
  const ids = states.map((_, index) => idOf(index.toString(16)));
  const engine = await standIn({
    [LIST]: listed(...states.map((state, index): [string, string] => [ids[index]!, state])),
    ...Object.assign({}, ...states.map((state, index) => mounting(ids[index]!, state))),
  });
  const {mounts} = mountsOf(engine);
  expect(await mounts.protectedBelow(ROOT)).toEqual(['odd', 'paused', 'restarting', 'running']);
  expect(await mounts.protectedBelow('/v/other/_data')).toEqual([]);
});

test('a container is looked at once; the list is asked for after a second, or after something happened', async () => {
  const engine = await standIn({[LIST]: listed([idOf('a'), 'running']), ...mounting(idOf('a'), 'x')});
  const {mounts, pass} = mountsOf(engine);
  await Promise.all(Array.from({length: 20}, () => mounts.protectedBelow(ROOT)));
  pass(999);
  await mounts.protectedBelow(ROOT);
  expect(listings(engine)).toBe(1);
  pass(2);
  await mounts.protectedBelow(ROOT);
  expect(listings(engine)).toBe(2);
  Object.assign(engine.answers, mounting(idOf('b'), 'y'), {
    [LIST]: listed([idOf('a'), 'running'], [idOf('b'), 'running']),
  });
  mounts.invalidate();
  expect(await mounts.protectedBelow(ROOT)).toEqual(['x', 'y']);
  expect(engine.asked.filter((path) => path.includes(idOf('a')))).toHaveLength(1);
  mounts.invalidate(idOf('a')); // started again
  await mounts.protectedBelow(ROOT);
  expect(engine.asked.filter((path) => path.includes(idOf('a')))).toHaveLength(2);
});

test('what happens while the list is under way makes the next question a new one', async () => {
  const engine = await standIn(mounting(idOf('a'), 'x'));
  const {mounts} = mountsOf(engine);
  let answer = (): void => undefined;
  const isAsked = new Promise<void>((resolve) => {
    engine.answers[LIST] = (_question, response) => {
      answer = () => void response.end('[]');
      resolve();
    };
  });
  const early = mounts.protectedBelow(ROOT);
  await isAsked;
  engine.answers[LIST] = listed([idOf('a'), 'running']);
  mounts.invalidate();
  expect(await mounts.protectedBelow(ROOT)).toEqual(['x']);
  answer();
  expect(await early).toEqual([]); // asked before, answered last: not taken for the newest
  expect(await mounts.protectedBelow(ROOT)).toEqual(['x']);
});

test('an engine that has answered and does not now: its last list holds, and it is asked again every 5 s', async () => {
  const engine = await standIn({[LIST]: listed([idOf('a'), 'running']), ...mounting(idOf('a'), 'x')});
  const {mounts, pass} = mountsOf(engine);
  await mounts.protectedBelow(ROOT);
  engine.answers[LIST] = raw(500, '{}');
  pass(1_001);
  expect(await mounts.protectedBelow(ROOT)).toEqual(['x']);
  expect(mounts.isAnswering).toBe(false);
  pass(4_999);
  expect(await mounts.protectedBelow(ROOT)).toEqual(['x']);
  expect(listings(engine)).toBe(2);
  await engine.close();
  pass(2);
  expect(await mounts.protectedBelow(ROOT)).toEqual(['x']);
});

test('never asked and not there: no engine, nothing protected; there but of no use: an error', async () => {
  const gone = await standIn({});
  await gone.close(); // removes its socket
  expect(await mountsOf(gone).mounts.protectedBelow(ROOT)).toEqual([]);
  const broken = await standIn({[LIST]: raw(500, '{"message":"out of order"}')});
  await expect(mountsOf(broken, false).mounts.protectedBelow(ROOT)).rejects.toMatchObject({code: 'SYSTEM'});
});

test('F13 a container that an engine starts right after it came back is seen at once', async () => {
  const gone = await standIn({});
  await gone.close();
  const {mounts} = mountsOf(gone);
  expect(await mounts.protectedBelow(ROOT)).toEqual([]);
  await standIn({[LIST]: listed([idOf('a'), 'running']), ...mounting(idOf('a'), 'x')}, gone.at.socket);
  expect(await mounts.protectedBelow(ROOT)).toEqual(['x']);
});

test('an engine and a root that name the same folder by different links mean the same', async () => {
  const folder = makeTmpDir();
  mkdirSync(join(folder, 'disk/volumes/data/_data'), {recursive: true});
  symlinkSync('disk', join(folder, 'engine'));
  symlinkSync('disk', join(folder, 'mine'));
  const source = join(folder, 'engine/volumes/data/_data');
  const engine = await standIn({[LIST]: listed([idOf('a'), 'running']), ...mounting(idOf('a'), 'x', source)});
  expect(await mountsOf(engine).mounts.protectedBelow(join(folder, 'mine/volumes/data/_data'))).toEqual(['x']);
});

test('a container that is removed between the list and the look at it has nothing mounted', async () => {
  const engine = await standIn({
    [LIST]: listed([idOf('a'), 'running'], [idOf('b'), 'running']),
    ...mounting(idOf('b'), 'y'),
  });
  expect(await mountsOf(engine).mounts.protectedBelow(ROOT)).toEqual(['y']);
});
