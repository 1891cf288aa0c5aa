/** Invitations without sockets: the code, the two messages, tries and time. */
import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import type {Clock} from '../../../src/base/clock.ts';
import {createIdentity} from '../../../src/transport/identity.ts';
import {ownAddresses} from '../../../src/transport/own-addresses.ts';
import {readCode, writeCode} from '../../../src/transport/pairing-code.ts';
import {INVITATION_MS, openInvitation, type Verdict} from '../../../src/transport/pairing.ts';
import {decodeAnswer, decodeJoin, encodeAnswer, encodeJoin, PAIRING_BYTES} from '../../../src/wire/pairing-messages.ts';

const identity = await createIdentity();
const JOINER = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);
const addresses = [
  {host: '10.0.0.1', port: 7420},
  {host: 'fd00::2', port: 7421},
];

function handClock(): Clock & {pass(ms: number): void} {
  let nowMs = 1_000;
  return {
    nowMs: () => 5_000_000 + nowMs,
    monotonicMs: () => nowMs,
    sleep: () => Promise.resolve(),
    pass: (ms) => void (nowMs += ms),
  };
}

function invite(clock = handClock()) {
  const invitation = openInvitation({identity, name: 'web-1', addresses}, {clock});
  const {secret} = readCode(invitation.code);
  const joinOf = (joinerId: string, key = secret): Buffer =>
    encodeJoin({name: 'db-2', port: 7420}, {secret: key, joinerId, inviterId: identity.id});
  return {invitation, clock, secret, joinOf};
}

const wrongSecret = Buffer.alloc(16);

describe('the code', () => {
  test('carries ID, secret and addresses, also with line breaks in it', () => {
    const code = {id: identity.id, secret: Buffer.alloc(16, 7), addresses};
    const text = writeCode(code);
    expect(text).toMatch(/^towline1-[\w-]+$/);
    expect(readCode(text)).toEqual(code);
    expect(readCode(` ${text.slice(0, 50)}\n  ${text.slice(50)}\n`)).toEqual(code);
  });

  test('with any one letter changed, missing or added it is refused with one sentence', () => {
    const text = writeCode({id: identity.id, secret: Buffer.alloc(16, 7), addresses});
    const letters = fc.constantFrom(...'ABCabc019-_'.split(''));
    fc.assert(
      fc.property(fc.nat(text.length - 1), letters, fc.constantFrom(0, 1), (at, letter, taken) => {
        const changed = text.slice(0, at) + letter + text.slice(at + taken);
        if (changed === text) return;
        expect(() => readCode(changed)).toThrow(/^the invitation code /);
      }),
    );
    for (let cut = 0; cut < text.length; cut++) expect(() => readCode(text.slice(0, cut))).toThrow(/invitation code/);
  });

  test.each([
    ['', 'is none: copy the whole code'],
    ['towline2-abc', 'is of version 2: run the same version'],
    [`towline1-${'A'.repeat(1e6)}`, 'is mistyped or cut'],
    [writeCode({id: identity.id, secret: wrongSecret, addresses: []}), 'holds no addresses'],
  ])('%.20s… is refused', (text, sentence) => {
    expect(() => readCode(text)).toThrow(sentence);
  });

  test('too many addresses and none are refused when an invitation is made', () => {
    const parts = {clock: handClock()};
    expect(() => openInvitation({identity, name: 'a', addresses: []}, parts)).toThrow('--address');
    const nine = Array.from({length: 9}, () => addresses[0]!);
    expect(() => openInvitation({identity, name: 'a', addresses: nine}, parts)).toThrow('at most 8 addresses');
  });
});

describe('the messages', () => {
  const ends = {secret: Buffer.alloc(16, 1), joinerId: JOINER, inviterId: OTHER};

  test('both have 128 bytes, and come back as they were', () => {
    const name = `n${'x'.repeat(62)}`;
    expect(encodeJoin({name, port: 65_535}, ends)).toHaveLength(PAIRING_BYTES);
    expect(decodeJoin(encodeJoin({name, port: 65_535}, ends), ends)).toEqual({name, port: 65_535});
    for (const status of ['welcome', 'wrong-code', 'failed'] as const) {
      const answer = encodeAnswer(status, name, ends);
      expect(answer).toHaveLength(PAIRING_BYTES);
      expect(decodeAnswer(answer, ends)).toEqual({status, name: status === 'welcome' ? name : ''});
    }
  });

  test('I4 one bit changed anywhere, another secret or another key, and the MAC is wrong', () => {
    const join = encodeJoin({name: 'db-2', port: 1}, ends);
    for (let bit = 8 * 8; bit < PAIRING_BYTES * 8; bit++) {
      const changed = Buffer.from(join);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(decodeJoin(changed, ends)).toBeUndefined();
    }
    expect(decodeJoin(join, {...ends, secret: wrongSecret})).toBeUndefined();
    expect(decodeJoin(join, {...ends, joinerId: OTHER})).toBeUndefined();
    expect(decodeJoin(join, {...ends, inviterId: JOINER})).toBeUndefined();
    expect(decodeJoin(join.subarray(0, 127), ends)).toBeUndefined();
  });

  test('an answer that was made up is a breach, and a name with a newline never gets through', () => {
    expect(() => decodeAnswer(Buffer.alloc(128), ends)).toThrow('pairing answer');
    const welcome = encodeAnswer('welcome', 'web-1', ends);
    expect(() => decodeAnswer(welcome, {...ends, secret: wrongSecret})).toThrow('MAC');
    expect(() => decodeJoin(encodeJoin({name: 'a\nb', port: 1}, ends), ends)).toThrow('name');
    expect(() => decodeJoin(encodeJoin({name: '', port: 1}, ends), ends)).toThrow('name');
  });
});

describe('an invitation', () => {
  const welcomed = (verdict: Verdict): boolean => verdict.isRight && verdict.joined().length === PAIRING_BYTES;

  test('lets in the first that shows the secret, that one again, and nobody else', () => {
    const {invitation, joinOf} = invite();
    expect(invitation.isOpenTo(JOINER)).toBe(true);
    const verdict = invitation.judge(joinOf(JOINER), JOINER);
    expect(verdict).toMatchObject({isRight: true, joiner: {name: 'db-2', port: 7420}});
    expect(invitation.closedBy).toBeUndefined(); // until it is written down
    expect(welcomed(verdict)).toBe(true);
    expect(invitation.closedBy).toBe('joined');
    expect([invitation.isOpenTo(JOINER), invitation.isOpenTo(OTHER)]).toEqual([true, false]);
    expect(welcomed(invitation.judge(joinOf(JOINER), JOINER))).toBe(true);
    expect(invitation.judge(joinOf(OTHER), OTHER).isRight).toBe(false);
  });

  test('I4 after 5 wrong tries it is void, also for the right code', () => {
    const {invitation, joinOf} = invite();
    for (let left = 4; left >= 0; left--) {
      expect(invitation.isOpenTo(JOINER)).toBe(true);
      expect(invitation.judge(joinOf(OTHER, wrongSecret), OTHER)).toMatchObject({isRight: false, triesLeft: left});
    }
    expect(invitation.closedBy).toBe('tries');
    expect(invitation.isOpenTo(JOINER)).toBe(false);
    expect(invitation.judge(joinOf(JOINER), JOINER).isRight).toBe(false);
  });

  test('I4 after 10 minutes it is over, by a clock that nobody sets', () => {
    const {invitation, clock, joinOf} = invite();
    expect(invitation.expiresMs).toBe(clock.nowMs() + INVITATION_MS);
    clock.pass(INVITATION_MS - 1);
    expect(invitation.isOpenTo(JOINER)).toBe(true);
    clock.pass(1);
    expect(invitation.closedBy).toBe('expired');
    expect(invitation.judge(joinOf(JOINER), JOINER).isRight).toBe(false);
  });

  test('one that joined stays welcome no longer than the invitation lasts', () => {
    const {invitation, clock, joinOf} = invite();
    welcomed(invitation.judge(joinOf(JOINER), JOINER));
    clock.pass(INVITATION_MS);
    expect(invitation.isOpenTo(JOINER)).toBe(false);
  });

  test('a message that is for another key is a wrong try', () => {
    const {invitation, joinOf} = invite();
    expect(invitation.judge(joinOf(JOINER), OTHER)).toMatchObject({isRight: false, triesLeft: 4});
  });

  test('withdrawn, it is closed', () => {
    const {invitation} = invite();
    invitation.withdraw();
    expect([invitation.closedBy, invitation.isOpenTo(JOINER)]).toEqual(['withdrawn', false]);
  });
});

test('for all addresses a code names those of the interfaces, IPv4 first, none that only this host or link knows', () => {
  const at = (address: string, family: 'IPv4' | 'IPv6', internal = false) => ({
    ...{address, netmask: '', mac: '', cidr: null, internal},
    ...(family === 'IPv6' ? {family, scopeid: 0} : {family}),
  });
  const interfaces = {
    lo: [at('127.0.0.1', 'IPv4', true), at('::1', 'IPv6', true)],
    eth0: [at('fd00::1', 'IPv6'), at('fe80::1', 'IPv6'), at('10.0.0.1', 'IPv4'), at('169.254.3.4', 'IPv4')],
  };
  const hosts = (host: string): string[] => ownAddresses({host, port: 1}, interfaces).map((address) => address.host);
  expect(hosts('::')).toEqual(['10.0.0.1', 'fd00::1']);
  expect(hosts('0.0.0.0')).toEqual(['10.0.0.1']);
  expect(hosts('192.168.7.7')).toEqual(['192.168.7.7']);
  expect(ownAddresses({host: '::', port: 1}, {lo: interfaces.lo}).map(({host}) => host)).toEqual(['127.0.0.1', '::1']);
});
