/**
 * Gives large buffers back at once. The collector sees them as memory outside of its heap and would run for every
 * 64 MiB of them, in each thread they pass.
 *
 * Invariant: only memory that no one else shares is released; smaller Buffers may be slices of a pool.
 */

/** From this size on a Buffer has memory of its own (Buffer.poolSize is 64 KiB, and half of it is pooled at most). */
export const OWN_MEMORY_BYTES = 64 * 1024;

/** Frees a buffer that nobody reads any more; afterwards it has no bytes. Small ones are left to the collector. */
export function release(bytes: Uint8Array): void {
  const {buffer} = bytes;
  if (bytes.byteLength >= OWN_MEMORY_BYTES && buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
}
