/**
 * Who an agent is: a key pair, and the certificate that carries its public key through TLS.
 *
 * Not a public key infrastructure: nobody signs for anybody, names and dates in a certificate mean nothing.
 * Invariant: an ID depends on the public key alone, so a new certificate over the same key is the same agent.
 */
import {createHash, KeyObject, X509Certificate, webcrypto} from 'node:crypto';
import {TowlineError} from '../base/errors.ts';

/** An agent's ID: SHA-256 of its public key (SPKI, DER) as 64 lower-case hex digits. */
export type AgentId = string;

export interface Identity {
  /** Private key, PKCS #8 PEM. Whoever has it is the agent. */
  keyPem: string;
  certificatePem: string;
  id: AgentId;
}

// P-256 rather than Ed25519: OpenSSL signs with it faster, and every TLS 1.3 implementation must know it (RFC 8446, 9.1).
const KEY_ALGORITHM = {name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'};

/**
 * Makes a new identity. Takes about 0.1 s the first time, nearly all of it to load the certificate library, which is
 * loaded here only: an agent that has an identity never pays for it.
 */
export async function createIdentity(): Promise<Identity> {
  await import('reflect-metadata'); // the library's parts find each other through it
  const {X509CertificateGenerator} = await import('@peculiar/x509');
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=towline',
      // RFC 5280, 4.1.2.5: "no well-defined expiration date". Nothing here reads the dates, a debugging tool may.
      notBefore: new Date('2020-01-01T00:00:00Z'),
      notAfter: new Date('9999-12-31T23:59:59Z'),
      keys,
      signingAlgorithm: KEY_ALGORITHM,
    },
    webcrypto,
  );
  return {
    keyPem: KeyObject.from(keys.privateKey).export({type: 'pkcs8', format: 'pem'}) as string,
    certificatePem: certificate.toString('pem'),
    id: idOfCertificate(Buffer.from(certificate.rawData)),
  };
}

/**
 * @param raw a certificate, DER
 * @throws TowlineError PROTOCOL when the bytes are no certificate
 */
export function idOfCertificate(raw: Buffer): AgentId {
  try {
    const publicKey = new X509Certificate(raw).publicKey.export({type: 'spki', format: 'der'});
    return createHash('sha256').update(publicKey).digest('hex');
  } catch (cause) {
    throw new TowlineError(
      'PROTOCOL',
      "the peer's certificate cannot be read",
      {rule: 'certificate', value: `${raw.length} bytes`, limit: 'X.509 with a public key'},
      {cause},
    );
  }
}
