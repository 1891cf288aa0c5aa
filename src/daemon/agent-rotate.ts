/**
 * Another key for this agent: told to every connected peer over the session that the old key has proved.
 *
 * A peer pins the new ID when it is told; from then on only the new key gets in there. Invariant: without `--force` it
 * begins only when every peer is connected; whom the new key did not reach is named, to be paired again.
 */
import {createHash, createPrivateKey, createPublicKey, sign, verify} from 'node:crypto';
import {TowlineError} from '../base/errors.ts';
import {createIdentity, type Identity} from '../transport/identity.ts';
import {storeIdentity} from '../transport/identity-file.ts';
import type {MessageOf} from '../wire/messages.ts';
import type {AgentCore} from './agent-core.ts';
import type {Peer} from './peer.ts';

const ANSWER_MS = 10_000;

/** What the new key signs: who it was, and who it is from now on. */
function statement(oldId: string, newId: string): Buffer {
  return Buffer.concat([Buffer.from('towline rotate 1'), Buffer.from(oldId, 'hex'), Buffer.from(newId, 'hex')]);
}

/** @throws REFUSED when a peer is not connected and it is not forced */
export async function rotate(core: AgentCore, {isForced}: {isForced: boolean}): Promise<string[]> {
  const peers = [...core.peers.values()];
  const away = peers.filter(({links}) => links === undefined).map(({config}) => config.name);
  if (away.length > 0 && !isForced)
    throw new TowlineError(
      'REFUSED',
      `not connected: ${away.join(', ')}; wait for them, or use --force and pair them again afterwards`,
      {reason: 'peers away'},
    );
  const next = await createIdentity();
  const oldId = core.identity.id;
  const message = announcement(next, oldId);
  const told = await Promise.all(
    peers.map(async (peer) => ({name: peer.config.name, isPinned: await isTold(core, peer, message, next.id)})),
  );
  const left = told.filter(({isPinned}) => !isPinned).map(({name}) => name);
  if (left.length > 0 && left.length === told.length && !isForced)
    throw new TowlineError('REFUSED', `no peer has taken the new key: ${left.join(', ')}; the old one stays`, {
      reason: 'not pinned',
    });
  storeIdentity(core.config.stateFolder, next);
  await core.changeIdentity(next);
  const sentences = [`the new ID is ${next.id}`];
  const pinned = told.filter(({isPinned}) => isPinned).map(({name}) => name);
  if (pinned.length > 0) sentences.push(`pinned by ${pinned.join(', ')}`);
  if (left.length > 0) sentences.push(`to be paired again (towline invite): ${left.join(', ')}`);
  return sentences;
}

function announcement(next: Identity, oldId: string): MessageOf<'identity-next'> {
  const key = createPrivateKey(next.keyPem);
  const publicKey = createPublicKey(next.keyPem).export({type: 'spki', format: 'der'});
  return {kind: 'identity-next', publicKey, signature: sign('sha256', statement(oldId, next.id), key)};
}

async function isTold(core: AgentCore, peer: Peer, message: MessageOf<'identity-next'>, id: string): Promise<boolean> {
  if (peer.links === undefined) return false;
  const pinned = core.nextPinned(peer.config.name, id);
  peer.send(message);
  const waker = new AbortController();
  const late = core.parts.clock.sleep(ANSWER_MS, waker.signal).then(
    () => false,
    () => false,
  );
  const answer = await Promise.race([pinned, late]);
  waker.abort();
  return answer;
}

/**
 * The peer's new ID, if its announcement is right.
 * @throws NOT_AUTHORISED when the signature is not the new key's
 */
export function announcedId({publicKey, signature}: MessageOf<'identity-next'>, oldId: string): string {
  const newId = createHash('sha256').update(publicKey).digest('hex');
  let isRight: boolean;
  try {
    const key = createPublicKey({key: publicKey, type: 'spki', format: 'der'});
    isRight = verify('sha256', statement(oldId, newId), key, signature);
  } catch {
    isRight = false;
  }
  if (isRight) return newId;
  throw new TowlineError('NOT_AUTHORISED', 'a peer announced a key that it does not hold; nothing was changed', {
    peer: oldId,
  });
}
