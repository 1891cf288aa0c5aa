/**
 * The identities of both ends of `sync`: made for this pair alone, thrown away after a day.
 *
 * Kept for that long because making a certificate costs more than a whole run that finds nothing to do. The keys never
 * leave the process and the pair's own folder. Invariant: a file that others can read or write is not used.
 */
import {chmodSync, lstatSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {createIdentity, idOfCertificate, type Identity} from '../transport/identity.ts';

export interface PairIdentities {
  source: Identity;
  target: Identity;
}

const FILE = 'identities.json';
const KEEP_MS = 24 * 3_600_000;

/** @param folder the pair's folder, private to this user */
export async function pairIdentities(folder: string, nowMs: number): Promise<PairIdentities> {
  const kept = readKept(join(folder, FILE), nowMs);
  if (kept !== undefined) return kept;
  const [source, target] = await Promise.all([createIdentity(), createIdentity()]);
  const made = {source, target};
  const path = join(folder, FILE);
  writeFileSync(`${path}.new`, JSON.stringify(made), {mode: 0o600, flag: 'w'});
  chmodSync(`${path}.new`, 0o600);
  renameSync(`${path}.new`, path);
  return made;
}

function readKept(path: string, nowMs: number): PairIdentities | undefined {
  try {
    const stat = lstatSync(path);
    const isPrivate = stat.isFile() && (stat.mode & 0o077) === 0 && stat.uid === process.geteuid?.();
    if (!isPrivate || Math.abs(nowMs - stat.mtimeMs) > KEEP_MS) return undefined;
    const kept = JSON.parse(readFileSync(path, 'utf8')) as PairIdentities;
    return isWhole(kept.source) && isWhole(kept.target) ? kept : undefined;
  } catch {
    return undefined; // none yet, or damaged: new ones are made
  }
}

function isWhole({id, certificatePem, keyPem}: Identity): boolean {
  const der = Buffer.from(certificatePem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  return keyPem.length > 0 && idOfCertificate(der) === id;
}
