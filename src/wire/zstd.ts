/**
 * A frame with its contents compressed: the header with bit 0 of the flags set, then one zstd frame that states its
 * content size (feature `zstd`). Pure.
 *
 * Invariant: what is expanded is as long as was stated, and that was checked against the limit before memory was taken.
 * Source: RFC 8878, section 3.1.1.1 (frame header).
 */
import {constants, zstdCompressSync, zstdDecompressSync} from 'node:zlib';
import {protocolFault} from './fault.ts';
import {FRAME_BYTES_MAX, FRAME_HEADER_BYTES} from './limits.ts';

/** Bit of the frame flags. */
export const ZSTD_FLAG = 1;
const FLAGS_OFFSET = 1;
const MAGIC = 0xfd2f_b528;
const MAGIC_BYTES = 4;
/** A frame is never larger than its window has to be: 2^21 bytes hold all of it. */
const WINDOW_LOG_MAX = 21;
/** Bytes of the content size by the two highest bits of the descriptor; the first is 1 in a frame of one segment. */
const SIZE_FIELD_BYTES = [0, 2, 4, 8] as const;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;

/** Whether the header says so; `peek` says whether it may. */
export function isCompressed(frame: Buffer): boolean {
  return (frame[FLAGS_OFFSET]! & ZSTD_FLAG) !== 0;
}

/** @returns the frame compressed, or undefined where that does not make it a tenth smaller */
export function compressed(frame: Buffer, level: number): Buffer | undefined {
  const sizeBytes = frame.length - FRAME_HEADER_BYTES;
  const content = zstdCompressSync(frame.subarray(FRAME_HEADER_BYTES), {
    pledgedSrcSize: sizeBytes,
    chunkSize: Math.max(constants.Z_MIN_CHUNK, sizeBytes),
    params: {[constants.ZSTD_c_compressionLevel]: level},
  });
  if (content.length > 0.9 * sizeBytes) return undefined;
  const whole = Buffer.concat([frame.subarray(0, FRAME_HEADER_BYTES), content]);
  whole[FLAGS_OFFSET] = ZSTD_FLAG;
  return whole;
}

/** Bytes of a compressed frame once it is expanded, header included. @throws PROTOCOL */
export function expandedBytes(frame: Buffer): number {
  const contentBytes = contentBytesOf(frame.subarray(FRAME_HEADER_BYTES));
  if (contentBytes === undefined) throw protocolFault('a compressed frame', 'content size', 'missing', 'stated');
  const most = FRAME_BYTES_MAX - FRAME_HEADER_BYTES;
  if (contentBytes > most) throw protocolFault('a compressed frame', 'content size', String(contentBytes), most);
  return FRAME_HEADER_BYTES + Number(contentBytes);
}

/** @param sizeBytes as `expandedBytes` gave it @returns the frame in memory of its own @throws PROTOCOL */
export function expanded(frame: Buffer, sizeBytes: number): Buffer {
  const contentBytes = sizeBytes - FRAME_HEADER_BYTES;
  const whole = Buffer.from(new ArrayBuffer(sizeBytes));
  frame.copy(whole, 0, 0, FRAME_HEADER_BYTES);
  whole[FLAGS_OFFSET] = 0;
  const found = expandedContent(frame.subarray(FRAME_HEADER_BYTES), contentBytes).copy(whole, FRAME_HEADER_BYTES);
  if (found !== contentBytes) throw protocolFault('a compressed frame', 'bytes of content', found, contentBytes);
  return whole;
}

function expandedContent(content: Buffer, contentBytes: number): Buffer {
  try {
    return zstdDecompressSync(content, {
      maxOutputLength: Math.max(1, contentBytes),
      chunkSize: Math.max(constants.Z_MIN_CHUNK, contentBytes),
      params: {[constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX},
    });
  } catch (error) {
    const {code = 'unknown'} = error as NodeJS.ErrnoException;
    throw protocolFault('a compressed frame', 'content', code, `one zstd frame of ${contentBytes} bytes`);
  }
}

/** The content size of a zstd frame; undefined where it is no such frame, or does not say it. */
function contentBytesOf(content: Buffer): bigint | undefined {
  if (content.length <= MAGIC_BYTES || content.readUInt32LE(0) !== MAGIC) return undefined;
  const descriptor = content.readUInt8(MAGIC_BYTES);
  const isOneSegment = (descriptor & 0b10_0000) !== 0;
  const kind = descriptor >> 6;
  const sizeFieldBytes = kind === 0 && isOneSegment ? 1 : SIZE_FIELD_BYTES[kind]!;
  const offset = MAGIC_BYTES + 1 + (isOneSegment ? 0 : 1) + DICTIONARY_ID_BYTES[descriptor & 0b11]!;
  if (sizeFieldBytes === 0 || content.length < offset + sizeFieldBytes) return undefined;
  if (sizeFieldBytes === 8) return content.readBigUInt64LE(offset);
  return BigInt(content.readUIntLE(offset, sizeFieldBytes) + (sizeFieldBytes === 2 ? 256 : 0));
}
