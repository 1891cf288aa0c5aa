import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {COSTS_CREDIT, CREDIT_BYTES_INITIAL, CreditGrant, CreditWindow} from '../../../src/wire/credits.ts';
import {FRAME_BYTES_MAX} from '../../../src/wire/limits.ts';
import type {MessageKind} from '../../../src/wire/messages.ts';
import {LAB_FACTOR, LAB_SEED} from './arbitraries.ts';

const protocol = expect.objectContaining({code: 'PROTOCOL'}) as Error;
const bug = expect.objectContaining({code: 'BUG'}) as Error;

describe('the sender', () => {
  test('sends four frames of 2 MiB into a window of 8 MiB and then waits for credit', () => {
    const window = new CreditWindow();
    const sent = [1, 2, 3, 4, 5].map(() => window.take(FRAME_BYTES_MAX));
    expect(sent).toEqual([true, true, true, true, false]);
    window.give(FRAME_BYTES_MAX);
    expect(window.take(FRAME_BYTES_MAX)).toBe(true);
    expect(window.availableBytes).toBe(0);
  });

  test.each([1, 0, -1, NaN, 2 ** 40])('refuses %d bytes of credit when nothing was taken', (bytes) => {
    expect(() => new CreditWindow().give(bytes)).toThrow(protocol);
  });

  test('a frame larger than the window is a bug, not a wait for ever', () => {
    expect(() => new CreditWindow(100).take(101)).toThrow(bug);
  });
});

describe('the receiver', () => {
  test('gives nothing back below a quarter of the window, then all of it at once', () => {
    const grant = new CreditGrant(1_000);
    grant.received(600);
    expect(grant.consumed(249)).toBe(0);
    expect(grant.consumed(1)).toBe(250);
    expect(grant.consumed(300)).toBe(300);
    expect(grant.waitingBytes).toBe(50);
  });

  test('refuses a frame that the peer had no credit for', () => {
    const grant = new CreditGrant(1_000);
    grant.received(1_000);
    expect(() => grant.received(1)).toThrow(protocol);
    expect(() => grant.consumed(1_001)).toThrow(bug);
  });
});

test('over 200 random histories nobody waits for ever and the receiver never holds more than the window', () => {
  const frames = fc.array(fc.integer({min: 8, max: FRAME_BYTES_MAX}), {minLength: 1, maxLength: 60});
  fc.assert(
    fc.property(frames, fc.infiniteStream(fc.boolean()), (sizes, coins) => {
      const window = new CreditWindow();
      const grant = new CreditGrant();
      const waiting: number[] = [];
      for (const size of sizes) {
        while (!window.take(size)) {
          const next = waiting.shift();
          if (next === undefined) throw new Error('the sender waits although all was consumed');
          const given = grant.consumed(next);
          if (given > 0) window.give(given);
        }
        grant.received(size);
        waiting.push(size);
        expect(grant.waitingBytes).toBeLessThanOrEqual(CREDIT_BYTES_INITIAL);
        if (coins.next().value === true) {
          const given = grant.consumed(waiting.shift() ?? 0);
          if (given > 0) window.give(given);
        }
      }
    }),
    {numRuns: 200 * LAB_FACTOR, seed: LAB_SEED},
  );
});

test('the kinds that carry data cost credit, and no other', () => {
  const kinds = (Object.keys(COSTS_CREDIT) as MessageKind[]).filter((kind) => COSTS_CREDIT[kind]);
  expect(kinds.sort()).toEqual([
    'batch',
    'file-holes',
    'file-leaves',
    'file-same',
    'group-listing',
    'node-listing',
    'signature',
  ]);
});
