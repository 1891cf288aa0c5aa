/**
 * The two messages of a pairing, each of one fixed size: who joins shows that it has the code, who invited answers.
 *
 * They are no frames: they travel on the bare TLS connection, before there is a WebSocket. Pure: the secret and both
 * IDs come from the caller. Invariant: nothing in a message is believed before its MAC was compared, in constant time.
 */
import {createHmac, timingSafeEqual} from 'node:crypto';
import {NAME, NAME_CHARS_MAX} from '../model/name.ts';
import {protocolFault} from './fault.ts';

export const PAIRING_BYTES = 128;
/** A message begins with it; no HTTP request has a zero byte there. */
export const JOIN_MAGIC = Buffer.from('\0TLJOIN1');
export const WELCOME_MAGIC = Buffer.from('\0TLPAIR1');

const MAC_AT = 8;
const MAC_BYTES = 32;
const BODY_AT = MAC_AT + MAC_BYTES;
const NAME_AT = BODY_AT + 2;

/** Both ends of a pairing; IDs as 64 hex digits, each taken from the key that TLS proved. */
export interface PairingEnds {
  secret: Buffer;
  joinerId: string;
  inviterId: string;
}

export interface JoinRequest {
  name: string;
  /** Where the joiner listens; 0 when it only dials. */
  port: number;
}

/** `wrong-code`: the MAC was wrong. `failed`: it was right, and the inviter could not write the peer down. */
export type PairingStatus = 'welcome' | 'wrong-code' | 'failed';
const STATUSES: readonly PairingStatus[] = ['welcome', 'wrong-code', 'failed'];

export function encodeJoin({name, port}: JoinRequest, ends: PairingEnds): Buffer {
  return encode({magic: JOIN_MAGIC, label: 'towline join', number: port, name}, ends);
}

/**
 * @param bytes PAIRING_BYTES that begin with JOIN_MAGIC
 * @returns undefined when the MAC is not that of this secret and these ends
 * @throws TowlineError PROTOCOL for a right MAC over fields that are not allowed
 */
export function decodeJoin(bytes: Buffer, ends: PairingEnds): JoinRequest | undefined {
  if (!hasMac(bytes, 'towline join', ends)) return undefined;
  return {port: bytes.readUInt16BE(BODY_AT), name: nameIn(bytes)};
}

/** @param name the inviter's; left out of anything but a welcome */
export function encodeAnswer(status: PairingStatus, name: string, ends: PairingEnds): Buffer {
  const shown = status === 'welcome' ? name : '';
  return encode({magic: WELCOME_MAGIC, label: 'towline welcome', number: STATUSES.indexOf(status), name: shown}, ends);
}

/**
 * @param bytes PAIRING_BYTES from the key of the inviter
 * @returns the inviter's name with a welcome, else ''
 * @throws TowlineError PROTOCOL
 */
export function decodeAnswer(bytes: Buffer, ends: PairingEnds): {status: PairingStatus; name: string} {
  const isAnswer = bytes.length === PAIRING_BYTES && bytes.subarray(0, MAC_AT).equals(WELCOME_MAGIC);
  if (!isAnswer) throw protocolFault('a pairing answer', 'form', `${bytes.length} bytes`, `${PAIRING_BYTES} bytes`);
  const number = bytes.readUInt16BE(BODY_AT);
  const status = STATUSES[number];
  if (status === undefined) throw protocolFault('a pairing answer', 'status', number, STATUSES.length - 1);
  if (status !== 'welcome') return {status, name: ''}; // without the secret there is no MAC to compare
  if (!hasMac(bytes, 'towline welcome', ends))
    throw protocolFault('a pairing answer', 'MAC', 'another', 'that of the code');
  return {status, name: nameIn(bytes)};
}

function encode(message: {magic: Buffer; label: string; number: number; name: string}, ends: PairingEnds): Buffer {
  const bytes = Buffer.alloc(PAIRING_BYTES);
  message.magic.copy(bytes);
  bytes.writeUInt16BE(message.number, BODY_AT);
  bytes.write(message.name, NAME_AT, NAME_CHARS_MAX, 'latin1');
  macOf(bytes, message.label, ends).copy(bytes, MAC_AT);
  return bytes;
}

function hasMac(bytes: Buffer, label: string, ends: PairingEnds): boolean {
  return bytes.length === PAIRING_BYTES && timingSafeEqual(bytes.subarray(MAC_AT, BODY_AT), macOf(bytes, label, ends));
}

/** Over the label, both IDs and all that stands behind the MAC: none of them can be another's. */
function macOf(bytes: Buffer, label: string, {secret, joinerId, inviterId}: PairingEnds): Buffer {
  return createHmac('sha256', secret)
    .update(`${label}\0`)
    .update(Buffer.from(joinerId, 'hex'))
    .update(Buffer.from(inviterId, 'hex'))
    .update(bytes.subarray(BODY_AT))
    .digest();
}

function nameIn(bytes: Buffer): string {
  const field = bytes.toString('latin1', NAME_AT);
  const name = field.replace(/\0+$/, '');
  if (!NAME.test(name)) throw protocolFault('a pairing message', 'name', name, 'letters, digits, dots, - and _');
  return name;
}
