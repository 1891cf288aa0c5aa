import {createPrivateKey, createPublicKey, hash, X509Certificate} from 'node:crypto';
import {expect, test} from 'vitest';
import {createIdentity, idOfCertificate} from '../../../src/transport/identity.ts';

test('an ID is the SHA-256 of the public key that belongs to the private one', async () => {
  const identity = await createIdentity();
  const publicKey = createPublicKey(createPrivateKey(identity.keyPem)).export({type: 'spki', format: 'der'});
  expect(identity.id).toBe(hash('sha256', publicKey, 'hex'));
  expect(identity.id).toMatch(/^[0-9a-f]{64}$/);
  const certificate = new X509Certificate(identity.certificatePem);
  expect(idOfCertificate(certificate.raw)).toBe(identity.id);
  expect(certificate.verify(certificate.publicKey)).toBe(true);
});

test('two identities differ', async () => {
  const [a, b] = await Promise.all([createIdentity(), createIdentity()]);
  expect(a.id).not.toBe(b.id);
});

test('40 bytes that are no certificate are a PROTOCOL error', () => {
  expect(() => idOfCertificate(Buffer.alloc(40, 0x30))).toThrow(expect.objectContaining({code: 'PROTOCOL'}));
});
