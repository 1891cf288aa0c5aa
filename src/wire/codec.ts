/**
 * One message to one frame and back; the layout is in PROTOCOL.md. Knows no socket and no order of messages.
 *
 * Invariant: `decode` gives a message within every limit or throws `PROTOCOL`; what `encode` gives, `decode` accepts.
 */
import {BatchWriter} from './batch-writer.ts';
import {BATCH_RESULT_CODEC, FILE_CODECS, readBatch} from './change-messages.ts';
import {byCode, LINK_CODES_FROM, MESSAGE_CODE} from './codes.ts';
import {COMPARE_CODECS} from './compare-messages.ts';
import {encodeBug, protocolFault} from './fault.ts';
import type {MessageCodec} from './fields.ts';
import {FRAME_BYTES_MAX, FRAME_HEADER_BYTES} from './limits.ts';
import type {Message, MessageKind, MessageOf} from './messages.ts';
import {Reader} from './reader.ts';
import {LINK_CODECS, SESSION_CODECS} from './session-messages.ts';
import {leafDeltaBytes} from './split.ts';
import {Writer} from './writer.ts';

const KIND_OF_CODE = byCode(MESSAGE_CODE);
const CAPACITY_BYTES_SMALL = 256;
const CAPACITY_BYTES_LIST = 8 * 1024;

const CODECS: {[K in Exclude<MessageKind, 'batch'>]: MessageCodec<K>} = {
  ...SESSION_CODECS,
  ...LINK_CODECS,
  ...COMPARE_CODECS,
  ...FILE_CODECS,
  'batch-result': BATCH_RESULT_CODEC,
};

/**
 * @returns the frame: one WebSocket binary message
 * @throws BUG when the message is beyond a limit; texts for people are cut instead
 */
export function encode(message: Message): Buffer {
  if (message.kind === 'batch') return encodeBatch(message);
  const writer = new Writer(capacityBytesOf(message));
  writer.u8(MESSAGE_CODE[message.kind]);
  writer.u8(0);
  writer.u16(0);
  writer.u32('link' in message ? message.link : 0);
  codecOf(message.kind).write(writer, message);
  return writer.finish();
}

function encodeBatch(message: MessageOf<'batch'>): Buffer {
  const writer = new BatchWriter({capacityBytes: capacityBytesOf(message)});
  for (const op of message.ops) {
    if (!writer.append(op)) throw encodeBug(`a batch of ${message.ops.length} operations that does not fit a frame`);
  }
  return writer.finish(message.link, message.batch, message.seq);
}

/**
 * Digests, contents and other Buffers of the message are slices of the frame: copy what is kept longer.
 * @throws PROTOCOL for everything that PROTOCOL.md does not allow
 */
export function decode(frame: Buffer): Message {
  const {kind, link} = peek(frame);
  const reader = new Reader(frame, kind, FRAME_HEADER_BYTES);
  const message = kind === 'batch' ? readBatch(reader, link) : codecOf(kind).read(reader, link);
  reader.end();
  return message;
}

/**
 * Kind and link (0 for messages of the session) from the header alone.
 * @param flagsAllowed bits that may be set: of features that both sides have
 * @throws PROTOCOL
 */
export function peek(frame: Buffer, flagsAllowed = 0): {kind: MessageKind; link: number} {
  if (frame.length > FRAME_BYTES_MAX) throw protocolFault('a frame', 'size', frame.length, FRAME_BYTES_MAX);
  const reader = new Reader(frame, 'a frame header', 0);
  const code = reader.u8();
  const kind = KIND_OF_CODE[code];
  if (kind === undefined) throw reader.fault('kind of message', code, 'a known number');
  const flags = reader.u8();
  if ((flags & ~flagsAllowed) !== 0) throw reader.fault('flags', flags, flagsAllowed);
  const reserved = reader.u16();
  if (reserved !== 0) throw reader.fault('reserved field', reserved, 0);
  const link = reader.u32();
  if (code < LINK_CODES_FROM && link !== 0) throw reader.fault('link of a session message', link, 0);
  return {kind, link};
}

/** The table is complete by type; which of its members fits is known only by the kind at hand. */
function codecOf(kind: Exclude<MessageKind, 'batch'>): MessageCodec<MessageKind> {
  return CODECS[kind] as unknown as MessageCodec<MessageKind>;
}

function capacityBytesOf(message: Message): number {
  switch (message.kind) {
    case 'batch':
      return message.ops.reduce(
        (bytes, op) => bytes + (op.kind === 'put-file' && op.source.from === 'inline' ? 128 + op.sizeBytes : 128),
        CAPACITY_BYTES_SMALL,
      );
    case 'file-leaves':
      return message.leaves.reduce((bytes, leaf) => bytes + leafDeltaBytes(leaf), CAPACITY_BYTES_SMALL);
    case 'signature':
      return CAPACITY_BYTES_SMALL + message.rows.weak.length + message.rows.strong.length;
    case 'node-listing':
    case 'group-listing':
    case 'hash-files':
    case 'verify-files':
    case 'list-nodes':
    case 'file-digests':
    case 'partial-files':
    case 'leaves-held':
    case 'batch-result':
      return CAPACITY_BYTES_LIST;
    default:
      return CAPACITY_BYTES_SMALL;
  }
}
