/**
 * What a connection may cost: sizes, counts and deadlines, with their defaults. The wire format has its own limits.
 */
import {HEARTBEAT_MS, PEER_DEAD_MS} from '../wire/limits.ts';

export interface TransportLimits {
  /** Largest frame either side may send; a larger one is refused from its header, before memory is taken for it. */
  frameBytesMax: number;
  /** TCP, TLS and the upgrade together. */
  handshakeMs: number;
  /** Sockets that have not shown a known key yet; one more and the oldest is dropped. */
  unauthenticatedMax: number;
  /** A ping goes out this often while nothing else does. */
  heartbeatMs: number;
  /** A peer from which no byte came for so long is lost. */
  peerDeadMs: number;
  /** How long a closing side waits for what it sent to leave and for the peer to close too. */
  closeMs: number;
  /** `drained` resolves below this many bytes waiting to be sent. */
  sendBufferBytes: number;
}

/** The frame size is the protocol's, so its owner passes it; the rest has defaults. */
export type TransportOptions = Pick<TransportLimits, 'frameBytesMax'> & Partial<TransportLimits>;

export function limitsOf(options: TransportOptions): TransportLimits {
  return {
    handshakeMs: 10_000,
    unauthenticatedMax: 64,
    heartbeatMs: HEARTBEAT_MS,
    peerDeadMs: PEER_DEAD_MS,
    closeMs: 1_000,
    sendBufferBytes: 4 * 1024 * 1024,
    ...options,
  };
}

const TLS_RECORD_BYTES_MAX = 16 * 1024; // RFC 8446, 5.1
// Four times what full records make of the largest frame: nobody honest sends smaller ones, and one byte each must not add up.
const SMALL_RECORDS_FACTOR = 4;

/**
 * What ws is told about both directions. A message is one WebSocket frame, never fragments, never compressed.
 * @see https://github.com/websockets/ws, `lib/receiver.js`: sizes are checked from the header of a frame
 */
export function webSocketLimits(limits: TransportLimits): {
  maxPayload: number;
  maxFragments: number;
  maxBufferedChunks: number;
  perMessageDeflate: false;
  skipUTF8Validation: true;
  closeTimeout: number;
} {
  return {
    maxPayload: limits.frameBytesMax,
    maxFragments: 1,
    maxBufferedChunks: SMALL_RECORDS_FACTOR * (Math.ceil(limits.frameBytesMax / TLS_RECORD_BYTES_MAX) + 2),
    perMessageDeflate: false,
    skipUTF8Validation: true, // text is refused whatever it says
    closeTimeout: limits.closeMs,
  };
}
