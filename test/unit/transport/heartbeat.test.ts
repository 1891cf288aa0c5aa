import {expect, test} from 'vitest';
import {Heartbeat} from '../../../src/transport/heartbeat.ts';

const limits = {heartbeatMs: 5_000, peerDeadMs: 15_000};

test('a peer is lost 15 s after its last byte, not a heartbeat later', () => {
  const heartbeat = new Heartbeat(limits, 0);
  heartbeat.step(0, true);
  heartbeat.heard(2_000);
  expect(heartbeat.step(5_000, true)).toEqual({kind: 'wait', delayMs: 5_000});
  expect(heartbeat.step(10_000, true)).toEqual({kind: 'wait', delayMs: 5_000});
  expect(heartbeat.step(15_000, true)).toEqual({kind: 'wait', delayMs: 2_000});
  expect(heartbeat.step(17_000, true)).toEqual({kind: 'lost', idleMs: 15_000});
});

test('an hour in which the machine slept is not the silence of the peer', () => {
  const heartbeat = new Heartbeat(limits, 0);
  heartbeat.step(0, true);
  expect(heartbeat.step(3_600_000, true)).toEqual({kind: 'wait', delayMs: 5_000});
  heartbeat.step(3_605_000, true);
  heartbeat.step(3_610_000, true);
  expect(heartbeat.step(3_615_000, true)).toEqual({kind: 'lost', idleMs: 15_000});
});

test('a minute without reading is not the silence of the peer', () => {
  const heartbeat = new Heartbeat(limits, 0);
  for (let nowMs = 0; nowMs <= 60_000; nowMs += 5_000) expect(heartbeat.step(nowMs, false).kind).toBe('wait');
});
