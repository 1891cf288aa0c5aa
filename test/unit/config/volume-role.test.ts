import {describe, expect, test} from 'vitest';
import type {SendConfig, VolumeConfig} from '../../../src/config/agent-config.ts';
import {DEFAULTS} from '../../../src/config/link-settings.ts';
import {roleInForce} from '../../../src/config/volume-role.ts';
import type {Decided, VolumeRole} from '../../../src/model/role.ts';

const link = (to: string, as = 'data'): SendConfig => ({...DEFAULTS, to, as});

function volume({from, to = []}: {from?: string; to?: SendConfig[]}): VolumeConfig {
  const at = {kind: 'path', path: '/srv/data'} as const;
  const receive = from === undefined ? undefined : {from, ignorePin: 'abc'};
  return {...DEFAULTS, name: 'data', at, send: to, receive, hooks: {quiesce: undefined, resume: undefined}};
}

function role(decided: Partial<Decided>): VolumeRole {
  const whole: Decided = {
    by: 'promote',
    sinceMs: 1_000,
    source: null,
    sourceVolume: null,
    configured: null,
    former: null,
    followers: [],
    confirmedDeletes: 0,
    ...decided,
  };
  return {epoch: {number: 2, token: 3}, decided: whole, superseded: undefined};
}

/** Who sends to whom, in short. */
function directions(config: VolumeConfig, given: VolumeRole, peers: readonly string[] = ['a', 'b', 'c']): string {
  const {config: found, contradiction} = roleInForce(config, given, (name) => peers.includes(name));
  if (contradiction !== undefined) return 'halted';
  return [
    ...(found.receive === undefined ? [] : [`<${found.receive.from}`]),
    ...found.send.map(({to}) => `>${to}`),
  ].join(' ');
}

const promoted = role({configured: 'a', former: 'a'});
const followed = role({configured: 'a', former: 'a', followers: [{to: 'a', as: 'old'}]});
const follows = role({by: 'follow', source: 'b'});

describe('a role over a configuration', () => {
  test.each<[string, VolumeConfig, VolumeRole, string]>([
    ['none: as it is written', volume({from: 'a'}), {...promoted, decided: undefined}, '<a'],
    ['promoted, the configuration as it was: sends to nobody', volume({from: 'a'}), promoted, ''],
    ['promoted with further links: they go on', volume({from: 'a', to: [link('c')]}), promoted, '>c'],
    ['promoted and followed: sends back', volume({from: 'a'}), followed, '>a'],
    ['the configuration says the same', volume({to: [link('a', 'old')]}), followed, '>a'],
    ['the configuration says a third thing', volume({from: 'c'}), promoted, 'halted'],
    [
      'follows, the configuration as it was: sends nothing back',
      volume({to: [link('b'), link('c')]}),
      follows,
      '<b >c',
    ],
    ['follows, the configuration says the same', volume({from: 'b'}), follows, '<b'],
    ['follows, the configuration says a third thing', volume({from: 'c'}), follows, 'halted'],
  ])('%s', (_, config, given, expected) => {
    expect(directions(config, given)).toBe(expected);
  });

  test('a follower that is no peer any more is not sent to', () => {
    expect(directions(volume({from: 'a'}), followed, ['c'])).toBe('');
  });

  test('what to write is said until it is written, with the name that a follower has for it', () => {
    const adviceOf = (config: VolumeConfig, given: VolumeRole): string | undefined =>
      roleInForce(config, given, () => true).advice;
    expect(adviceOf(volume({from: 'a'}), followed)).toContain('write send: [{to: a, as: old}] instead of receive:');
    expect(adviceOf(volume({to: [link('a', 'old')]}), followed)).toBeUndefined();
    expect(adviceOf(volume({to: [link('b')]}), follows)).toContain('write receive: b and no send:');
    expect(adviceOf(volume({from: 'b'}), follows)).toBeUndefined();
  });

  test('a pin of ignore rules goes only with the peer that it is written for', () => {
    const pinOf = (config: VolumeConfig): string | undefined =>
      roleInForce(config, follows, () => true).config.receive?.ignorePin;
    expect(pinOf(volume({from: 'b'}))).toBe('abc');
    expect(pinOf(volume({to: [link('b')]}))).toBeUndefined();
  });
});
