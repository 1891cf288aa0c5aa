import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {
  EPOCH_NUMBER_MAX,
  EPOCH_STEP_MAX,
  EPOCH_TOKEN_MAX,
  FIRST_EPOCH,
  judgeEpoch,
  nextEpoch,
  packEpoch,
  unpackEpoch,
  type Epoch,
} from '../../../src/model/epoch.ts';

const epochs = fc.record({
  number: fc.integer({min: 2, max: EPOCH_NUMBER_MAX}),
  token: fc.integer({min: 0, max: EPOCH_TOKEN_MAX}),
});

describe('epochs', () => {
  test('every one comes back from its 53 bits', () => {
    fc.assert(
      fc.property(epochs, (epoch) => {
        const packed = packEpoch(epoch);
        expect(Number.isSafeInteger(packed)).toBe(true);
        expect(unpackEpoch(packed)).toEqual(epoch);
      }),
    );
    expect(packEpoch(FIRST_EPOCH)).toBe(1);
  });

  test('whatever a peer sends is an epoch, and one that can be sent on', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (packed) => {
        const epoch = unpackEpoch(packed);
        expect(unpackEpoch(packEpoch(epoch))).toEqual(epoch);
      }),
    );
    for (const packed of [0, 1, 2, 2 ** 32, 2 ** 33 - 1]) expect(unpackEpoch(packed)).toEqual(FIRST_EPOCH);
  });

  const ours: Epoch = {number: 5, token: 7};
  test.each([
    ['equal', {number: 5, token: 7}, 'same'],
    ['another promotion of the same number', {number: 5, token: 8}, 'rival'],
    ['one below, whatever its token', {number: 4, token: 7}, 'older'],
    ['one above', {number: 6, token: 0}, 'newer'],
    ['a step of 1,000', {number: 5 + EPOCH_STEP_MAX, token: 1}, 'newer'],
    ['a step of 1,001', {number: 6 + EPOCH_STEP_MAX, token: 1}, 'far'],
    ['the last one', {number: EPOCH_NUMBER_MAX, token: 1}, 'far'],
  ])('%s: %j is %s', (_, theirs, verdict) => {
    expect(judgeEpoch(ours, theirs)).toBe(verdict);
  });

  test('a promotion is above all that are known, and there is an end', () => {
    expect(nextEpoch([ours, {number: 9, token: 1}], 3)).toEqual({number: 10, token: 3});
    expect(nextEpoch([{number: EPOCH_NUMBER_MAX, token: 0}], 3)).toBeUndefined();
  });
});
