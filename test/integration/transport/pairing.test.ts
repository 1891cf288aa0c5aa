/** Invite and join over real sockets on the loopback interface, and everything else that may come on that port. */
import {connect as connectTcp, type AddressInfo} from 'node:net';
import {createServer, type TLSSocket} from 'node:tls';
import {describe, expect, onTestFinished, test, vi} from 'vitest';
import {systemClock, type Clock} from '../../../src/base/clock.ts';
import type {PairedPeer} from '../../../src/config/peer-files.ts';
import {join, type JoinOptions} from '../../../src/transport/join.ts';
import {readCode, writeCode} from '../../../src/transport/pairing-code.ts';
import {INVITATION_MS, openInvitation, type Invitation} from '../../../src/transport/pairing.ts';
import {encodeJoin, JOIN_MAGIC, PAIRING_BYTES} from '../../../src/wire/pairing-messages.ts';
import {call, client, host, type Host, rawTls, saidBy, server, stranger, Tap} from './peers.ts';

const REFUSAL = /^HTTP\/1.1 403 Forbidden\r\n/;

interface Inviting {
  at: Host;
  invitation: Invitation;
  paired: PairedPeer[];
  joinBy: (options?: Partial<JoinOptions>) => ReturnType<typeof join>;
}

/** A listener of `server` that knows `client` and has an invitation open. */
async function inviting(
  over: {clock?: Clock; handshakeMs?: number; onPaired?: (peer: PairedPeer) => void} = {},
): Promise<Inviting> {
  const paired: PairedPeer[] = [];
  const open: {invitation?: Invitation} = {};
  const at = await host(
    {handshakeMs: over.handshakeMs ?? 10_000},
    {invitation: () => open.invitation, onPaired: over.onPaired ?? ((peer) => void paired.push(peer))},
  );
  const address = {host: '127.0.0.1', port: at.port};
  const invitation = openInvitation(
    {identity: server, name: 'web-1', addresses: [address]},
    {clock: over.clock ?? systemClock},
  );
  open.invitation = invitation;
  const {code} = invitation;
  const joinBy = (options: Partial<JoinOptions> = {}): ReturnType<typeof join> =>
    join({code, identity: stranger, name: 'db-2', listenPort: 7420, ...options});
  return {at, invitation, paired, joinBy};
}

/** The code with another secret in it. */
function forged(code: string): string {
  return writeCode({...readCode(code), secret: Buffer.alloc(16, 9)});
}

async function heard(socket: TLSSocket, message: Buffer | string): Promise<string> {
  const said = saidBy(socket);
  socket.write(message);
  return said;
}

/** A TLS server with the key of `client` that notes what it hears. */
async function foreignServer(heardBytes: Buffer[]): Promise<{port: number; hungUp: Promise<void>}> {
  const foreign = createServer({key: client.keyPem, cert: client.certificatePem}, (socket) => {
    socket.on('error', () => {}).on('data', (bytes: Buffer) => heardBytes.push(bytes));
  });
  const hungUp = new Promise<void>((resolve) => {
    foreign.on('connection', (socket) => socket.on('close', () => resolve()));
  });
  onTestFinished(() => void foreign.close());
  const port = await new Promise<number>((resolve) => {
    foreign.listen(0, '127.0.0.1', () => resolve((foreign.address() as AddressInfo).port));
  });
  return {port, hungUp};
}

describe('invite and join', () => {
  test('both learn ID and name of the other, and an address where it listens', async () => {
    const {at, invitation, paired, joinBy} = await inviting();
    const joined = await joinBy();
    expect(joined).toEqual({id: server.id, name: 'web-1', address: {host: '127.0.0.1', port: at.port}});
    expect(paired).toEqual([{id: stranger.id, name: 'db-2', address: {host: '127.0.0.1', port: 7420}}]);
    expect(invitation.closedBy).toBe('joined');
    expect(at.channels).toEqual([]);
  });

  test('a joiner that only dials has no address', async () => {
    const {paired, joinBy} = await inviting();
    await joinBy({listenPort: 0});
    expect(paired).toEqual([{id: stranger.id, name: 'db-2', address: undefined}]);
  });

  test('of several addresses the one that leads to the inviter is found, past dead and foreign ones', async () => {
    const {at, joinBy, invitation} = await inviting();
    const {port: foreignPort} = await foreignServer([]);
    const code = writeCode({
      ...readCode(invitation.code),
      addresses: [1, foreignPort, at.port].map((port) => ({host: '127.0.0.1', port})),
    });
    expect((await joinBy({code})).address.port).toBe(at.port);
  });

  test('over IPv6 too', async () => {
    const paired: PairedPeer[] = [];
    const open: {invitation?: Invitation} = {};
    const target = {
      host: '::1',
      invitation: () => open.invitation,
      onPaired: (peer: PairedPeer) => void paired.push(peer),
    };
    const at = await host({}, target);
    const addresses = [{host: '::1', port: at.port}];
    const invitation = openInvitation({identity: server, name: 'a', addresses}, {clock: systemClock});
    open.invitation = invitation;
    await join({code: invitation.code, identity: stranger, name: 'b', listenPort: 1});
    expect(paired[0]?.address).toEqual({host: '::1', port: 1});
  });

  test('a peer that is known already pairs again, and dials while an invitation is open', async () => {
    const {at, paired, joinBy} = await inviting();
    const near = new Tap(await call(at.port));
    const far = new Tap(await at.accepted());
    near.channel.send(Buffer.from('hello'));
    expect((await far.have(1))[0]!.toString()).toBe('hello');
    await joinBy({identity: client, name: 'again'});
    expect(paired).toMatchObject([{id: client.id, name: 'again'}]);
  });

  test('one that did not hear the answer may ask again', async () => {
    const {at, invitation, paired, joinBy} = await inviting();
    const message = encodeJoin(
      {name: 'db-2', port: 1},
      {secret: readCode(invitation.code).secret, joinerId: stranger.id, inviterId: server.id},
    );
    const socket = await rawTls(at.port, {}, stranger);
    socket.write(message, () => socket.destroy());
    await vi.waitUntil(() => paired.length === 1);
    await joinBy();
    expect(paired).toHaveLength(2);
  });

  test('the answer leaves also when the listener is closed as soon as the peer is written down', async () => {
    let closed: Promise<void> | undefined;
    const inviter = await inviting({onPaired: () => void (closed = inviter.at.listener.close())});
    await expect(inviter.joinBy()).resolves.toMatchObject({name: 'web-1'});
    await closed;
  });

  test('an inviter that cannot write the peer down says so, and the code is still good', async () => {
    let isFull = true;
    const onPaired = (): void => {
      if (isFull) throw new Error('disk full');
    };
    const {at, joinBy} = await inviting({onPaired});
    await expect(joinBy()).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining('write this agent'),
    });
    expect(at.troubles[0]!.message).toContain('disk full');
    isFull = false;
    await expect(joinBy()).resolves.toMatchObject({name: 'web-1'});
  });
});

describe('what is refused', () => {
  test('I4 a wrong secret, five times; then the right one too, and no name leaks', async () => {
    const {at, invitation, paired, joinBy} = await inviting();
    for (let count = 1; count <= 5; count++) {
      await expect(joinBy({code: forged(invitation.code)})).rejects.toMatchObject({code: 'NOT_AUTHORISED'});
    }
    await expect(joinBy()).rejects.toMatchObject({code: 'REFUSED', message: expect.stringContaining('towline invite')});
    expect(paired).toEqual([]);
    expect(at.troubles.map(({message}) => message)[4]).toContain('void');
  });

  test('I4 what comes with a wrong secret hears 128 bytes that hold no name', async () => {
    const {at} = await inviting();
    const ends = {secret: Buffer.alloc(16), joinerId: stranger.id, inviterId: server.id};
    const said = await heard(await rawTls(at.port, {}, stranger), encodeJoin({name: 'x', port: 1}, ends));
    expect(said).toHaveLength(PAIRING_BYTES);
    expect(said).not.toContain('web-1');
  });

  test('I4 an invitation that ran out, was used, or was withdrawn', async () => {
    let passedMs = 0;
    const clock = {...systemClock, monotonicMs: () => systemClock.monotonicMs() + passedMs};
    const old = await inviting({clock});
    passedMs = INVITATION_MS;
    await expect(old.joinBy()).rejects.toMatchObject({code: 'REFUSED'});

    const used = await inviting();
    await used.joinBy();
    await expect(used.joinBy({identity: client})).rejects.toMatchObject({code: 'REFUSED'});
    await expect(used.joinBy({identity: server})).rejects.toMatchObject({code: 'USAGE'});

    const withdrawn = await inviting();
    withdrawn.invitation.withdraw();
    await expect(withdrawn.joinBy()).rejects.toMatchObject({code: 'REFUSED'});
    expect([...old.paired, ...withdrawn.paired]).toEqual([]);
  });

  test('I4 the inviter behind the address has another key: nothing is sent to it', async () => {
    const heardBytes: Buffer[] = [];
    const foreign = await foreignServer(heardBytes);
    const addresses = [{host: '127.0.0.1', port: foreign.port}];
    const code = writeCode({id: server.id, secret: Buffer.alloc(16), addresses});
    const joining = join({code, identity: stranger, name: 'db-2', listenPort: 0});
    await expect(joining).rejects.toMatchObject({code: 'NOT_AUTHORISED'});
    await foreign.hungUp;
    expect(heardBytes).toEqual([]);
  });

  test.each([
    ['an HTTP request', 'GET /towline/1 HTTP/1.1\r\n\r\n'],
    ['garbage of the right size', Buffer.alloc(PAIRING_BYTES, 0xa5)],
    ['the first byte of the magic and garbage', Buffer.concat([JOIN_MAGIC.subarray(0, 1), Buffer.alloc(200, 1)])],
    ['a message of 129 bytes', Buffer.concat([JOIN_MAGIC, Buffer.alloc(PAIRING_BYTES - 7)])],
    ['4 MiB', Buffer.alloc(4 << 20)],
  ])('%s from an unknown key gets the fixed refusal and costs no try', async (_, message) => {
    const {at, invitation, paired} = await inviting();
    expect(await heard(await rawTls(at.port, {}, stranger), message)).toMatch(REFUSAL);
    expect(invitation.closedBy).toBeUndefined();
    expect(paired).toEqual([]);
  });

  test('without a certificate nobody is heard', async () => {
    const {at} = await inviting();
    expect(await heard(await rawTls(at.port), JOIN_MAGIC)).toMatch(REFUSAL);
  });

  test('without an invitation the message is answered as ever', async () => {
    const at = await host();
    expect(await heard(await rawTls(at.port, {}, stranger), JOIN_MAGIC)).toMatch(REFUSAL);
  });

  test('I5 a byte now and then, and silence, are closed at the deadline of the gate', async () => {
    const {at, paired} = await inviting({handshakeMs: 300});
    const trickling = await rawTls(at.port, {}, stranger);
    const said = saidBy(trickling);
    let sent = 0;
    const timer = setInterval(() => trickling.write(JOIN_MAGIC.subarray(sent % 8, (sent++ % 8) + 1)), 40);
    onTestFinished(() => clearInterval(timer));
    const silent = saidBy(await rawTls(at.port, {}, stranger));
    expect(await Promise.all([said, silent])).toEqual(['', '']);
    expect(paired).toEqual([]);
  });
});

describe('joining', () => {
  test('ends at once with its signal', async () => {
    const {joinBy} = await inviting();
    await expect(joinBy({signal: AbortSignal.abort()})).rejects.toMatchObject({code: 'CANCELLED'});
  });

  test('says what is wrong with each address when none answers', async () => {
    const closed = await host();
    await closed.listener.close();
    const code = writeCode({
      id: server.id,
      secret: Buffer.alloc(16),
      addresses: [
        {host: '127.0.0.1', port: closed.port},
        {host: '::1', port: closed.port},
      ],
    });
    const error = await join({code, identity: stranger, name: 'a', listenPort: 0}).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'PEER_LOST',
      message: expect.stringMatching(/127.0.0.1.*nothing listens.*\[::1\]/),
    });
  });

  test('an invitation on a port that hears TCP only is PEER_LOST or PROTOCOL, not a hang', async () => {
    const {at} = await inviting();
    const socket = connectTcp(at.port, '127.0.0.1');
    socket.on('error', () => {});
    onTestFinished(() => void socket.destroy());
    socket.write(JOIN_MAGIC);
    await new Promise<void>((resolve) => {
      socket.on('close', () => resolve()).resume();
    });
    expect(at.channels).toEqual([]);
  });
});
