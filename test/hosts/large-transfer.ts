/**
 * One large file on its way between two agents in hosts of their own: how much of it is there, what went over the wire.
 */
import {createHash, randomBytes} from 'node:crypto';
import {closeSync, openSync, readdirSync, statSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {spawnSync} from 'node:child_process';
import type {TestAgent} from './agent.ts';
import type {Host} from './namespaces.ts';

const PIECE_BYTES = 1 << 20;

/** Random bytes, which no program can make smaller. @returns its SHA-256 */
export function writeLarge(path: string, sizeBytes: number): string {
  const fd = openSync(path, 'w');
  const sum = createHash('sha256');
  for (let at = 0; at < sizeBytes; at += PIECE_BYTES) {
    const piece = randomBytes(Math.min(PIECE_BYTES, sizeBytes - at));
    sum.update(piece);
    writeSync(fd, piece);
  }
  closeSync(fd);
  return sum.digest('hex');
}

/** As `sha256sum` says, which is no code of this project. */
export function sha256sum(path: string): string {
  const {stdout, stderr, status} = spawnSync('sha256sum', ['--binary', path], {encoding: 'utf8'});
  if (status !== 0) throw new Error(`sha256sum: ${stderr}`);
  return stdout.slice(0, 64);
}

/** Where an agent stages what it receives, where that is its state folder. */
export function stagingOf(agent: TestAgent, volume: string): string {
  return join(agent.stateFolder, 'volumes', volume, 'target/staging');
}

/** The largest file in a staging folder. */
export function largestIn(staging: string): {path: string; sizeBytes: number} | undefined {
  let names: string[] = [];
  try {
    names = readdirSync(staging);
  } catch {
    return undefined; // not made yet
  }
  return names
    .map((name) => join(staging, name))
    .map((path) => ({path, sizeBytes: statSync(path, {throwIfNoEntry: false})?.size ?? 0}))
    .sort((a, b) => b.sizeBytes - a.sizeBytes)[0];
}

/** Bytes that a host has sent over its line, headers and all. */
export function sentOver(host: Host): number {
  const shown = JSON.parse(host.run('ip', '-j', '-s', 'link', 'show', 'eth0')) as {stats64: {tx: {bytes: number}}}[];
  return shown[0]!.stats64.tx.bytes;
}
