/**
 * Pairing without a running agent: a listener that stands only while its invitation is open, and the way to join one.
 *
 * Joins transport, state and configuration; says nothing to people. Invariant: a peer is told that it is one only after
 * its file is written.
 */
import {join} from 'node:path';
import type {Clock} from '../base/clock.ts';
import {TowlineError} from '../base/errors.ts';
import type {AgentConfig, HostPort} from '../config/agent-config.ts';
import {checkPeerName, storePeer, type PairedPeer, type StoredPeer} from '../config/peer-files.ts';
import {prepareFolder} from '../state/state-files.ts';
import {loadOrCreateIdentity, replaceIdentity} from '../transport/identity-file.ts';
import type {Identity} from '../transport/identity.ts';
import {join as joinPeer} from '../transport/join.ts';
import {listen} from '../transport/listen.ts';
import {ownAddresses} from '../transport/own-addresses.ts';
import {readCode} from '../transport/pairing-code.ts';
import {INVITATION_MS, type Invitation, openInvitation} from '../transport/pairing.ts';
import {holdLock} from '../volume/lock.ts';
import {FRAME_BYTES_MAX} from '../wire/limits.ts';

/** A peer that was paired, and where that is written. */
export type NewPeer = PairedPeer & {stored: StoredPeer};

/** The identity of the agent with this state folder; made when there is none. @throws as loadOrCreateIdentity */
export function agentIdentity(stateFolder: string): Promise<Identity> {
  prepareFolder(stateFolder);
  return loadOrCreateIdentity(stateFolder);
}

/** Another key in place of the old one. @throws TowlineError LOCKED while an agent runs on this state */
export async function newIdentity(stateFolder: string): Promise<Identity> {
  prepareFolder(stateFolder);
  const lock = holdLock(join(stateFolder, 'lock'), `the state in ${stateFolder}`);
  try {
    return await replaceIdentity(stateFolder);
  } finally {
    lock.release();
  }
}

export interface InviteParts {
  clock: Clock;
  signal: AbortSignal;
  onOpen(invitation: Invitation): void;
  /** Somebody else came, or came with a wrong code. */
  onTrouble(trouble: TowlineError): void;
}

/**
 * Listens until somebody has joined.
 * @param addresses to put into the code; none for those of this host
 * @throws TowlineError USAGE when it does not or cannot listen, PEER_LOST when nobody came in time, NOT_AUTHORISED after
 *   too many wrong tries, the signal's reason
 */
export async function inviteAlone(config: AgentConfig, addresses: HostPort[], parts: InviteParts): Promise<NewPeer> {
  if (config.listen === undefined) {
    const hint = 'set agent.listen, or run towline invite on the other host and join from here';
    throw new TowlineError('USAGE', `this agent does not listen, so nobody can join it: ${hint}`, {hint});
  }
  const identity = await agentIdentity(config.stateFolder);
  const {promise: ended, resolve: end, reject: fail} = Promise.withResolvers<NewPeer>();
  let invitation: Invitation | undefined;
  const listener = await listen(
    {
      ...config.listen,
      identity,
      isKnownPeer: (id) => config.peers.some((peer) => peer.id === id),
      onChannel: (channel) => channel.close(), // its links wait for the agent; refused, they would halt
      invitation: () => invitation,
      onPaired: (peer) => end({...peer, stored: storePeer(config, peer)}),
      onTrouble: (trouble) => {
        parts.onTrouble(trouble);
        if (invitation?.closedBy === 'tries') fail(tooManyTries());
      },
    },
    {frameBytesMax: FRAME_BYTES_MAX},
  );
  const over = new AbortController();
  try {
    const reachable = addresses.length > 0 ? addresses : ownAddresses(listener.address);
    invitation = openInvitation({identity, name: config.name, addresses: reachable}, parts);
    parts.onOpen(invitation);
    const expiry = parts.clock.sleep(INVITATION_MS, AbortSignal.any([parts.signal, over.signal]));
    return await Promise.race([ended, expiry.then(() => raise(nobodyCame()))]);
  } finally {
    over.abort();
    invitation?.withdraw();
    await listener.close();
  }
}

/**
 * Joins the agent that made the code, and writes it down as a peer.
 * @param request `as` is what to call it here; undefined for its own name
 * @throws TowlineError as `join` of the transport, USAGE when another peer has the name
 */
export async function joinAgent(
  config: AgentConfig,
  request: {code: string; as: string | undefined; signal: AbortSignal},
): Promise<NewPeer & {address: HostPort}> {
  const {code, as, signal} = request;
  const {id} = readCode(code);
  const namesake = config.peers.find((peer) => peer.name === as && peer.id !== id);
  if (as !== undefined && namesake !== undefined) {
    const hint = 'choose another name, or remove that peer first';
    throw new TowlineError('USAGE', `another peer is called ${as} (${namesake.file}): ${hint}`, {hint});
  }
  const identity = await agentIdentity(config.stateFolder);
  const joined = await joinPeer({code, identity, name: config.name, listenPort: config.listen?.port ?? 0, signal});
  const peer = {...joined, name: as === undefined ? joined.name : checkPeerName(as)};
  return {...peer, stored: storePeer(config, peer)};
}

function raise(error: TowlineError): never {
  throw error;
}

function nobodyCame(): TowlineError<'PEER_LOST'> {
  const sentence = 'nobody joined in time: the invitation has run out; make a new one with towline invite';
  return new TowlineError('PEER_LOST', sentence, {peer: '', idleMs: 0});
}

function tooManyTries(): TowlineError<'NOT_AUTHORISED'> {
  const sentence =
    'too many wrong tries: the invitation is void; see who tried, then make a new one with towline invite';
  return new TowlineError('NOT_AUTHORISED', sentence, {peer: ''});
}
