import {randomBytes} from 'node:crypto';
import {expect, test} from 'vitest';
import {Compressor, ConnectionSpeed} from '../../../src/session/compressor.ts';

const MIB = 1 << 20;

/** A connection that writes so many bytes a second, one MiB after the other. */
function connection(bytesPerS: number): {speed: ConnectionSpeed; write: (mib: number) => void} {
  let nowMs = 0;
  const speed = new ConnectionSpeed({monotonicMs: () => nowMs});
  const write = (mib: number): void => {
    for (let done = 0; done < mib; done++) {
      speed.sent(MIB);
      nowMs += (MIB / bytesPerS) * 1_000;
      speed.written(MIB);
    }
  };
  return {speed, write};
}

const text = (): Buffer => Buffer.alloc(100_000, 'the same again ');

test('a connection is as fast as it was while something waited: time without anything to send does not count', () => {
  let nowMs = 0;
  const speed = new ConnectionSpeed({monotonicMs: () => nowMs});
  expect(speed.bytesPerS).toBeUndefined();
  for (let burst = 0; burst < 4; burst++) {
    nowMs += 60_000;
    speed.sent(MIB / 2);
    speed.sent(MIB / 2);
    nowMs += 50;
    speed.written(MIB / 2);
    nowMs += 50;
    speed.written(MIB / 2);
  }
  expect(speed.bytesPerS).toBe(MIB * 10);
});

test('frames are compressed on a slow connection alone, and no longer once it is fast', () => {
  const fast = connection(200e6);
  fast.write(64);
  expect(new Compressor(fast.speed).compressed(text(), false)).toHaveLength(100_000);
  const slow = connection(12e6);
  const compressor = new Compressor(slow.speed);
  expect(compressor.compressed(text(), false)).toHaveLength(100_000); // nobody knows yet
  slow.write(4);
  expect(compressor.compressed(text(), false).length).toBeLessThan(1_000);
});

test('what an operator limits is slow, however fast the connection is', () => {
  const {speed, write} = connection(1e9);
  write(64);
  expect(new Compressor(speed).compressed(text(), true).length).toBeLessThan(1_000);
});

test('after a frame of random bytes the next 15 go as they are', () => {
  const {speed, write} = connection(1e6);
  write(2);
  const compressor = new Compressor(speed);
  const random = randomBytes(50_000);
  expect(compressor.compressed(random, false)).toBe(random);
  const sizes = Array.from({length: 16}, () => compressor.compressed(text(), false).length);
  expect(sizes.filter((size) => size === 100_000)).toHaveLength(15);
  expect(sizes.at(-1)).toBeLessThan(1_000);
});
