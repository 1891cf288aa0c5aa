import {describe, expect, test} from 'vitest';
import {negotiate, OWN_TERMS, type Terms} from '../../../src/wire/negotiate.ts';

const terms = (versionMin: number, versionMax: number, features: string[] = []): Terms => ({
  versionMin,
  versionMax,
  features,
});

describe('two agents', () => {
  test.each([
    ['of the same version speak it', terms(1, 1), terms(1, 1), 1],
    ['of versions 2 and 3 speak 2', terms(1, 2), terms(2, 3), 2],
    ['where one speaks 1 to 5 and the other 3 to 4 speak 4', terms(1, 5), terms(3, 4), 4],
  ])('%s', (_, mine, theirs, version) => {
    expect(negotiate(mine, theirs).version).toBe(version);
    expect(negotiate(theirs, mine).version).toBe(version);
  });

  test('two versions apart are told which of them to update', () => {
    expect(() => negotiate(terms(1, 1), terms(2, 3))).toThrow(/2 to 3 \(update this agent\), allowed: 1 to 1/);
    expect(() => negotiate(terms(2, 3), terms(1, 1))).toThrow(/1 to 1 \(update the peer\), allowed: 2 to 3/);
    expect(() => negotiate(terms(2, 3), terms(1, 1))).toThrow(expect.objectContaining({code: 'PROTOCOL'}));
  });

  test('use the features both named, in one order, and skip unknown and repeated ones', () => {
    const mine = terms(1, 1, ['zstd', 'holes', 'zstd']);
    const theirs = terms(1, 1, ['from-the-future', 'holes', 'zstd']);
    expect(negotiate(mine, theirs).features).toEqual(['holes', 'zstd']);
    expect(negotiate(theirs, mine).features).toEqual(['holes', 'zstd']);
  });

  test('of this build agree with themselves', () => {
    expect(negotiate(OWN_TERMS, OWN_TERMS)).toEqual({
      version: 1,
      features: ['follow', 'resume', 'same-leaves', 'verify-files', 'zstd'],
    });
  });
});
