/**
 * Signatures of contents that were sent, as the sender uses them; kept by the store in one row a leaf.
 */
import {assembleSignature, leafRow, type Signature} from '../delta/signature.ts';
import {leafCountOf, type Digest} from '../model/digest.ts';
import type {VolumeStore} from '../state/volume-store.ts';

export function signatureStore(store: VolumeStore): {
  get(content: Digest): Signature | undefined;
  put(content: Digest, signature: Signature): void;
} {
  return {
    get: (content) => {
      const stored = store.getSignature(content);
      if (stored === undefined || !stored.seed.equals(store.hashSeed)) return undefined;
      return assembleSignature(stored.blockBytes, stored.sizeBytes, stored.rows);
    },
    put: (content, signature) => {
      const {blockBytes, sizeBytes} = signature;
      const rows = Array.from({length: leafCountOf(sizeBytes)}, (_, leafIndex) => leafRow(signature, leafIndex));
      store.putSignature(content, {blockBytes, sizeBytes, seed: store.hashSeed}, rows);
    },
  };
}
