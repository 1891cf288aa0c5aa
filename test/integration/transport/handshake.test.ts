/** Who gets in: pins on both sides, one TLS version, one path, deadlines. Real sockets on the loopback interface. */
import {createPrivateKey, createPublicKey, webcrypto} from 'node:crypto';
import {connect as connectTcp, createServer, type AddressInfo, type Socket} from 'node:net';
import {createServer as createTlsServer} from 'node:tls';
import {expect, onTestFinished, test, vi} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import type {Identity} from '../../../src/transport/identity.ts';
import {call, client, host, rawTls, saidBy, server, stranger, Tap, upgradeRequest} from './peers.ts';

test('both sides know the ID that the other proved', async () => {
  const at = await host();
  const near = new Tap(await call(at.port));
  const far = new Tap(await at.accepted());
  expect(near.channel.peerId).toBe(server.id);
  expect(far.channel.peerId).toBe(client.id);
});

test('a dialler that finds another key than the pinned one sends nothing and says which it found', async () => {
  const heard: Buffer[] = [];
  const tls = createTlsServer({...pem(stranger), requestCert: true, rejectUnauthorized: false}, (socket) => {
    socket.on('error', () => {}).on('data', (bytes) => heard.push(bytes));
  });
  const hungUp = new Promise<void>((resolve) => {
    tls.on('connection', (socket) => socket.on('close', () => resolve()));
  });
  const error = (await call(await portOf(tls)).catch((reason: unknown) => reason)) as TowlineError;
  expect(error).toMatchObject({code: 'NOT_AUTHORISED', details: {peer: server.id}});
  expect(error.message).toContain(stranger.id.slice(0, 12));
  await hungUp;
  expect(heard).toEqual([]);
});

test('an unknown dialler is refused 20 times out of 20 with NOT_AUTHORISED, and the listener names its ID', async () => {
  const at = await host();
  const errors = await Promise.all(
    Array.from({length: 20}, () => call(at.port, {identity: stranger}).catch((error: unknown) => error)),
  );
  expect(errors.map((error) => (error as TowlineError).code)).toEqual(Array(20).fill('NOT_AUTHORISED'));
  expect(at.channels).toEqual([]);
  expect(at.troubles).toHaveLength(20);
  expect(at.troubles[0]!.message).toContain(stranger.id);
});

test('a peer that is removed between its handshake and its upgrade is refused', async () => {
  let asked = 0;
  const at = await host({}, {isKnownPeer: () => ++asked === 1});
  await expect(call(at.port)).rejects.toMatchObject({code: 'NOT_AUTHORISED'});
  expect(at.channels).toEqual([]);
});

test('a list of peers that cannot be read lets nobody in', async () => {
  const isKnownPeer = (): boolean => {
    throw new Error('unreadable');
  };
  const at = await host({}, {isKnownPeer});
  await expect(call(at.port)).rejects.toMatchObject({code: 'NOT_AUTHORISED'});
});

test('a TLS client without a certificate gets the fixed refusal and its request is never parsed', async () => {
  const isKnownPeer = vi.fn<(id: string) => boolean>(() => true);
  const at = await host({}, {isKnownPeer});
  const socket = await rawTls(at.port);
  const said = saidBy(socket);
  socket.write(upgradeRequest('/towline/1'));
  expect(await said).toMatch(/^HTTP\/1.1 403 Forbidden\r\n/);
  expect(isKnownPeer).not.toHaveBeenCalled();
  expect(at.channels).toEqual([]);
});

test('a stranger that keeps talking still hears the refusal, and 4 MiB of it are thrown away', async () => {
  const at = await host();
  const socket = await rawTls(at.port, {}, stranger);
  const said = saidBy(socket);
  for (let index = 0; index < 64; index++) socket.write(Buffer.alloc(64 * 1024));
  expect(await said).toMatch(/^HTTP\/1.1 403 Forbidden\r\n/);
});

test('a certificate without its private key does not get through the handshake', async () => {
  const at = await host();
  await expect(rawTls(at.port, {cert: client.certificatePem, key: stranger.keyPem})).rejects.toMatchObject({
    code: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH',
  });
  const socket = await rawTls(at.port, {cert: client.certificatePem});
  expect(await saidBy(socket)).toMatch(/^HTTP\/1.1 403/); // without the key the certificate is not even sent
});

test('TLS 1.2 is refused in the handshake', async () => {
  const at = await host();
  const tls12 = rawTls(at.port, {minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2'}, client);
  await expect(tls12).rejects.toMatchObject({code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION'});
});

test('AES-128-GCM is chosen also from a client that prefers another cipher', async () => {
  const at = await host();
  const socket = await rawTls(at.port, {ciphers: 'TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256'}, client);
  expect(socket.getCipher().name).toBe('TLS_AES_128_GCM_SHA256');
  expect(socket.getProtocol()).toBe('TLSv1.3');
});

test('a session cannot be resumed: the second connection proves its key again', async () => {
  const at = await host();
  const first = await rawTls(at.port, {}, client);
  const session = await new Promise<Buffer>((resolve) => {
    first.once('session', resolve);
    first.resume();
  });
  const second = await rawTls(at.port, {session}, client);
  expect(second.isSessionReused()).toBe(false);
});

test('a WebSocket without TLS is closed without an answer', async () => {
  const at = await host();
  const socket = connectTcp(at.port, '127.0.0.1');
  const closed = new Promise<Buffer>((resolve) => {
    const chunks: Buffer[] = [];
    socket.on('data', (bytes: Buffer) => chunks.push(bytes));
    socket.on('error', () => {});
    socket.on('close', () => resolve(Buffer.concat(chunks)));
  });
  socket.write(upgradeRequest('/towline/1'));
  expect((await closed).toString('latin1')).not.toContain('HTTP');
  expect(at.channels).toEqual([]);
});

test.each([
  {what: 'another path', request: upgradeRequest('/towline/2'), answer: '404'},
  {what: 'the path with a query', request: upgradeRequest('/towline/1?x'), answer: '404'},
  {
    what: 'an Origin, as a browser sends it',
    request: upgradeRequest('/towline/1', 'Origin: https://a.example\r\n'),
    answer: '404',
  },
  {what: 'a request without an upgrade', request: 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', answer: '426'},
  {what: 'headers of 8 KiB', request: upgradeRequest('/towline/1', `X: ${'a'.repeat(8192)}\r\n`), answer: '431'},
  {what: 'no HTTP', request: '\u0000\u0001\r\n\r\n', answer: '400'},
])('$what from a known peer is answered $answer and closed', async ({request, answer}) => {
  const at = await host();
  const socket = await rawTls(at.port, {}, client);
  const said = saidBy(socket);
  socket.write(request);
  expect(await said).toMatch(new RegExp(`^HTTP/1.1 ${answer} `));
  expect(at.channels).toEqual([]);
});

test('of 200 sockets that say nothing the oldest 136 are dropped at once, and a real peer still gets in', async () => {
  const at = await host();
  const idle = await Promise.all(Array.from({length: 200}, () => idleSocket(at.port)));
  await vi.waitUntil(() => idle.filter(({socket}) => socket.destroyed).length >= 136);
  const near = new Tap(await call(at.port));
  const far = new Tap(await at.accepted());
  near.channel.send(Buffer.alloc(200_000));
  await far.have(1);
  expect(idle.filter(({socket}) => !socket.destroyed).length).toBe(63); // the real peer took the place of one more
});

test('200 sockets that say nothing are all closed by the deadline, and a channel that came among them stays', async () => {
  const at = await host({handshakeMs: 300, unauthenticatedMax: 1_000});
  const idle = await Promise.all(Array.from({length: 200}, () => idleSocket(at.port)));
  const near = new Tap(await call(at.port));
  const far = new Tap(await at.accepted());
  expect(idle.filter(({socket}) => socket.destroyed)).toEqual([]);
  await Promise.all(idle.map(({closed}) => closed));
  near.channel.send(Buffer.alloc(200_000));
  await far.have(1);
  expect([near.channel.isOpen, far.channel.isOpen]).toEqual([true, true]);
});

test('a known peer that never asks for the upgrade is closed by the deadline', async () => {
  const at = await host({handshakeMs: 100});
  const socket = await rawTls(at.port, {}, client);
  expect(await saidBy(socket)).toBe('');
});

test('dialling a host that accepts and says nothing ends at the deadline', async () => {
  const port = await portOf(createServer((socket) => void socket.on('error', () => {})));
  await expect(call(port, {}, {handshakeMs: 100})).rejects.toMatchObject({code: 'PEER_LOST', details: {idleMs: 100}});
});

test('dialling a peer that finishes TLS and never answers the upgrade ends at the deadline', async () => {
  const tls = createTlsServer(pem(server), (socket) => {
    socket.on('error', () => {}).resume();
  });
  await expect(call(await portOf(tls), {}, {handshakeMs: 150})).rejects.toMatchObject({code: 'PEER_LOST'});
});

test('dialling stops when its signal fires, with the reason of the signal', async () => {
  const port = await portOf(createServer((socket) => void socket.on('error', () => {})));
  const controller = new AbortController();
  const dialling = call(port, {signal: controller.signal});
  controller.abort(new TowlineError('REFUSED', 'the peer was removed', {reason: 'removed'}));
  await expect(dialling).rejects.toMatchObject({code: 'REFUSED'});
  await expect(call(port, {signal: AbortSignal.abort()})).rejects.toMatchObject({code: 'CANCELLED'});
});

test('dialling a port where nothing listens says so', async () => {
  const gone = createServer();
  const port = await portOf(gone);
  await new Promise((resolve) => gone.close(resolve));
  const error = (await call(port).catch((reason: unknown) => reason)) as TowlineError;
  expect(error.code).toBe('PEER_LOST');
  expect(error.message).toContain(`127.0.0.1:${port}: nothing listens there`);
});

test('dialling a server that speaks no TLS is PROTOCOL', async () => {
  const port = await portOf(
    createServer((socket) => void socket.on('error', () => {}).end('HTTP/1.1 400 Bad\r\n\r\n')),
  );
  await expect(call(port)).rejects.toMatchObject({code: 'PROTOCOL', details: {rule: 'TLS'}});
});

test('a port in use is a usage error that says what to do', async () => {
  const at = await host();
  await expect(host({}, {port: at.port})).rejects.toMatchObject({code: 'USAGE'});
});

test('closing a listener ends its channels and its pending sockets', async () => {
  const at = await host();
  const near = new Tap(await call(at.port));
  const {closed} = await idleSocket(at.port);
  await at.accepted();
  await at.listener.close();
  expect(await near.ended).toMatchObject({code: 'PEER_LOST'});
  await closed;
  await expect(call(at.port)).rejects.toMatchObject({code: 'PEER_LOST'});
});

test('dates in certificates mean nothing: one that ended in 1970 connects', async () => {
  const identity = {...client, certificatePem: await expiredCertificate(client)};
  const at = await host();
  const near = new Tap(await call(at.port, {identity}));
  const far = new Tap(await at.accepted());
  expect([near.channel.peerId, far.channel.peerId]).toEqual([server.id, client.id]);
});

/** Another certificate over the same key. */
async function expiredCertificate({keyPem}: Identity): Promise<string> {
  const {X509CertificateGenerator} = await import('@peculiar/x509');
  const algorithm = {name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'};
  const privateKey = createPrivateKey(keyPem);
  const keys = {
    privateKey: privateKey.toCryptoKey(algorithm, false, ['sign']),
    publicKey: createPublicKey(privateKey).toCryptoKey(algorithm, true, ['verify']),
  };
  const dates = {notBefore: new Date(0), notAfter: new Date(1_000)};
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {name: 'CN=old', ...dates, keys, signingAlgorithm: algorithm},
    webcrypto,
  );
  return certificate.toString('pem');
}

function pem(identity: Identity): {key: string; cert: string} {
  return {key: identity.keyPem, cert: identity.certificatePem};
}

function idleSocket(port: number): Promise<{socket: Socket; closed: Promise<void>}> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1', () => resolve({socket, closed}));
    const closed = new Promise<void>((close) => {
      socket.on('error', () => {});
      socket.resume().on('close', () => close());
    });
    onTestFinished(() => void socket.destroy());
  });
}

function portOf(listener: ReturnType<typeof createServer>): Promise<number> {
  onTestFinished(() => void listener.close());
  return new Promise((resolve) => {
    listener.listen(0, '127.0.0.1', () => resolve((listener.address() as AddressInfo).port));
  });
}
