/**
 * The one-time code that a person carries from the inviting agent to the joining one: addresses, ID, secret, checksum.
 *
 * Not signed: whoever has it may join, so it is shown to the operator only. Invariant: a code with one wrong letter is
 * never taken for another code.
 */
import {createHash} from 'node:crypto';
import {isTowlineError, TowlineError} from '../base/errors.ts';
import type {HostPort} from '../config/agent-config.ts';
import {parseHostPort, showHostPort} from '../config/host-port.ts';
import type {AgentId} from './identity.ts';

export interface PairingCode {
  /** The inviter's. */
  id: AgentId;
  /** SECRET_BYTES of chance. */
  secret: Buffer;
  /** Where the inviter may be reached, the likeliest first. */
  addresses: HostPort[];
}

export const SECRET_BYTES = 16; // 128 bits: beyond guessing, also without the limit of tries
export const ADDRESSES_MAX = 8;
const PREFIX = 'towline1-';
const ID_BYTES = 32;
const CHECKSUM_BYTES = 4;
const ADDRESS_BYTES_MAX = 255;
const CODE_CHARS_MAX = 4_096;

/** @param code with at most ADDRESSES_MAX addresses */
export function writeCode({id, secret, addresses}: PairingCode): string {
  const texts = addresses.map((address) => Buffer.from(showHostPort(address)));
  const body = Buffer.concat([
    Buffer.from(id, 'hex'),
    secret,
    ...texts.flatMap((text) => [Buffer.from([text.length]), text]),
  ]);
  return PREFIX + Buffer.concat([body, checksumOf(body)]).toString('base64url');
}

/** @param typed as it was pasted; blanks and line breaks in it mean nothing @throws TowlineError USAGE */
export function readCode(typed: string): PairingCode {
  const text = typed.slice(0, CODE_CHARS_MAX + 1).replaceAll(/\s/g, '');
  const other = /^towline(\d+)-/.exec(text)?.[1];
  if (!text.startsWith(PREFIX)) {
    if (other !== undefined) throw wrong(`is of version ${other}`, 'run the same version of Towline on both hosts');
    throw wrong('is none', 'copy the whole code that towline invite printed, it begins with towline1-');
  }
  const digits = text.slice(PREFIX.length);
  const bytes = Buffer.from(digits, 'base64url');
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  const isWhole =
    text.length <= CODE_CHARS_MAX &&
    /^[\w-]+$/.test(digits) &&
    bytes.toString('base64url') === digits &&
    body.length >= ID_BYTES + SECRET_BYTES &&
    checksumOf(body).equals(bytes.subarray(-CHECKSUM_BYTES));
  if (!isWhole) throw wrong('is mistyped or cut', 'copy the whole code that towline invite printed');
  return {
    id: body.toString('hex', 0, ID_BYTES),
    secret: Buffer.from(body.subarray(ID_BYTES, ID_BYTES + SECRET_BYTES)),
    addresses: readAddresses(body.subarray(ID_BYTES + SECRET_BYTES)),
  };
}

function readAddresses(bytes: Buffer): HostPort[] {
  const addresses: HostPort[] = [];
  for (let at = 0; at < bytes.length; at += 1 + bytes[at]!) {
    const text = bytes.toString('utf8', at + 1, at + 1 + bytes[at]!);
    if (addresses.length === ADDRESSES_MAX || at + 1 + bytes[at]! > bytes.length) throw damaged();
    try {
      addresses.push(parseHostPort(text));
    } catch (error) {
      throw isTowlineError(error) ? damaged() : error;
    }
  }
  if (addresses.length === 0) throw damaged();
  return addresses;
}

/** Not a slip of the keyboard, which the checksum finds. */
function damaged(): TowlineError<'USAGE'> {
  return wrong('holds no addresses that can be read', 'make a new one with towline invite');
}

function checksumOf(body: Buffer): Buffer {
  return createHash('sha256').update(PREFIX).update(body).digest().subarray(0, CHECKSUM_BYTES);
}

function wrong(what: string, hint: string): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', `the invitation code ${what}: ${hint}`, {hint});
}

/** Checks addresses for a code. @throws TowlineError USAGE */
export function checkAddresses(addresses: readonly HostPort[]): void {
  const hint = `at most ${ADDRESSES_MAX} addresses of at most ${ADDRESS_BYTES_MAX} bytes`;
  const isShort = addresses.every((address) => Buffer.byteLength(showHostPort(address)) <= ADDRESS_BYTES_MAX);
  if (addresses.length <= ADDRESSES_MAX && isShort) return;
  throw new TowlineError('USAGE', `too many addresses for an invitation: ${hint}`, {hint});
}
