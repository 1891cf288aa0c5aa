/**
 * xxh64, the fast hash of everything that is compared but not proven.
 *
 * Invariant: nothing is hashed before `loadXxhash` has resolved.
 */
import xxhash, {type XXHashAPI} from 'xxhash-wasm';
import {invariant} from '../base/errors.ts';

let hashes: XXHashAPI | undefined;

/** Compiles the hash once per thread (about 1 ms); afterwards hashing is synchronous. May be called again. */
export async function loadXxhash(): Promise<void> {
  hashes ??= await xxhash();
}

/** xxh64 of bytes under a seed, as an unsigned 64-bit number. Needs `loadXxhash`. */
export function xxh64(bytes: Uint8Array, seed: bigint): bigint {
  invariant(hashes !== undefined, 'loadXxhash() was not awaited');
  return hashes.h64Raw(bytes, seed);
}
