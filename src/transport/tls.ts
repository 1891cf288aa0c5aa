/**
 * How both sides speak TLS: version 1.3 only, a certificate from each, trust by pinned key alone, no resumption.
 *
 * OpenSSL proves that the other side holds its private key; whether that key is the right one is asked here and
 * nowhere else. Invariant: without `peerIdOf` giving a known ID no byte of a peer is looked at.
 */
import {constants} from 'node:crypto';
import type {SecureContextOptions, TLSSocket} from 'node:tls';
import {idOfCertificate, type AgentId, type Identity} from './identity.ts';

/** The path both sides agree on; a later, incompatible transport gets another one. */
export const WEBSOCKET_PATH = '/towline/1';

export function secureOptions(identity: Identity): SecureContextOptions & {rejectUnauthorized: false} {
  return {
    key: identity.keyPem,
    cert: identity.certificatePem,
    ca: [], // none are trusted, and the system's need not be loaded
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // AES-128-GCM first: the fastest with AES instructions, and as strong as P-256.
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    honorCipherOrder: true,
    // Tickets become references into a cache that nobody keeps: a session cannot be resumed, every peer proves its key.
    secureOptions: constants.SSL_OP_NO_TICKET,
    rejectUnauthorized: false, // no authority vouches for anybody; see peerIdOf
  };
}

/** The ID whose private key the other side of a finished handshake holds, or '' when it showed none that can be read. */
export function peerIdOf(socket: TLSSocket): AgentId {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined || socket.isSessionReused()) return '';
  try {
    return idOfCertificate(certificate.raw);
  } catch {
    return '';
  }
}
