/**
 * What a socket says first while an invitation is open: the one pairing message, or anything else.
 *
 * Takes no more than the message's size, and no time of its own: the gate's deadline ends who trickles.
 * Invariant: exactly one of both callbacks is called, at most once, and what is not the message is left unread.
 */
import type {TLSSocket} from 'node:tls';
import {JOIN_MAGIC, PAIRING_BYTES} from '../wire/pairing-messages.ts';

/** @param on `onOther` gets the socket as if nothing had been read from it */
export function hearJoiner(socket: TLSSocket, on: {onMessage(message: Buffer): void; onOther(): void}): void {
  let heard: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    heard = Buffer.concat([heard, chunk]);
    const isOther = !JOIN_MAGIC.subarray(0, heard.length).equals(heard.subarray(0, JOIN_MAGIC.length));
    if (!isOther && heard.length < PAIRING_BYTES) return;
    socket.off('data', onData);
    socket.pause();
    if (!isOther && heard.length === PAIRING_BYTES) return on.onMessage(heard);
    socket.unshift(heard);
    on.onOther();
  };
  socket.on('data', onData);
}
