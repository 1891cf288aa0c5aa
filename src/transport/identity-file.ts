/**
 * The agent's identity on disk: identity.json in the state folder, 0600.
 *
 * Invariant: a key that is there is never replaced by itself, not even when it cannot be read: the agent would be
 * another one, and no peer would know it.
 */
import {createPrivateKey, X509Certificate} from 'node:crypto';
import {join} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import {readOwnedText, writeOwnedText} from '../base/owned-file.ts';
import {createIdentity, idOfCertificate, type Identity} from './identity.ts';

const FILE = 'identity.json';
const FILE_BYTES_MAX = 64 * 1024; // a key and a certificate have 1 KiB
const FORMAT = 1;

/**
 * @param folder the state folder, prepared (0700, of this user)
 * @throws TowlineError REFUSED when others can read or write the file, STATE_DAMAGED, STATE_NEWER, SYSTEM
 */
export async function loadOrCreateIdentity(folder: string): Promise<Identity> {
  const kept = readIdentity(folder);
  if (kept !== undefined) return kept;
  const made = await createIdentity();
  const path = join(folder, FILE);
  if (writeOwnedText(path, textOf(made), {mode: 0o600, isNew: true})) return made;
  return readIdentity(folder) ?? damaged(path, 'it vanished while it was read'); // another process was first
}

/** As above; undefined when there is none yet. */
export function readIdentity(folder: string): Identity | undefined {
  const path = join(folder, FILE);
  const text = readOwnedText(path, {bytesMax: FILE_BYTES_MAX, isPrivate: true});
  return text === undefined ? undefined : parse(path, text);
}

/** Makes a new key in place of the old one: from then on this is another agent. */
export async function replaceIdentity(folder: string): Promise<Identity> {
  const made = await createIdentity();
  storeIdentity(folder, made);
  return made;
}

/** Puts an identity in place of the old one, durably. */
export function storeIdentity(folder: string, identity: Identity): void {
  writeOwnedText(join(folder, FILE), textOf(identity), {mode: 0o600, isNew: false});
}

function textOf(identity: Identity): string {
  return `${JSON.stringify({format: FORMAT, ...identity}, null, 2)}\n`;
}

function parse(path: string, text: string): Identity {
  let found: Partial<Identity> & {format?: unknown};
  try {
    found = JSON.parse(text) as typeof found;
  } catch (error) {
    return damaged(path, 'it is not JSON', error);
  }
  if (typeof found !== 'object' || found === null) return damaged(path, 'it is not an object');
  const {format, keyPem, certificatePem, id} = found;
  if (typeof format === 'number' && format > FORMAT) {
    throw new TowlineError('STATE_NEWER', `${path} was written by a newer version of Towline: run that one`, {
      found: format,
      known: FORMAT,
    });
  }
  if (typeof keyPem !== 'string' || typeof certificatePem !== 'string' || typeof id !== 'string') {
    return damaged(path, 'a part is missing');
  }
  if (!isWhole({keyPem, certificatePem, id})) return damaged(path, 'key, certificate and ID do not belong together');
  return {keyPem, certificatePem, id};
}

function isWhole({keyPem, certificatePem, id}: Identity): boolean {
  try {
    const certificate = new X509Certificate(certificatePem);
    return certificate.checkPrivateKey(createPrivateKey(keyPem)) && idOfCertificate(certificate.raw) === id;
  } catch {
    return false;
  }
}

function damaged(path: string, what: string, cause?: unknown): never {
  const fix = 'put it back from a backup, or move it away and pair all peers again (a new key is a new agent)';
  throw new TowlineError('STATE_DAMAGED', `${path} is damaged, ${what}: ${fix}`, {path, what}, {cause});
}
