/**
 * How much of a line of 100 Mbit/s with a round trip of 40 ms is payload, in a first copy.
 *
 * Of the whole time, from the moment that running, connected agents are given the volume until all is seen on the target;
 * and of the time from the first content on the line. The rate holds for whole packets, headers and all. The delay is made
 * by a proxy: the agents' own round trips feel it, TCP's do not.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {type Hosts, makeHosts} from '../agents/hosts.ts';
import {must} from '../sync/filesystems.ts';
import {fillSmall, SMALL_FILE_BYTES, smallPath} from '../sync/trees.ts';
import {type Case, type Rows, rowsOf} from './case.ts';
import {untilThere} from './changes.ts';
import {lineOf} from './counters.ts';
import {writePattern} from './large-files.ts';

const LINE = {bitsPerSecond: 100_000_000, delayMs: 20};
const LARGE_BYTES = 64 << 20;
const SMALL_FILES = 5_000;
const SHARE_MIN = 0.9;
const CONTENT_BYTES_MIN = 64 << 10; // more than all that is said before content goes
const LOOK_MS = 2;

export const lines: Case = async (context) => {
  const rows = rowsOf('lines', context);
  const hosts = await makeHosts({base: context.base, line: LINE, room: {sizeMiB: 1_024}});
  const [largeBytes, smallFiles] = context.isQuick ? [LARGE_BYTES / 4, SMALL_FILES / 2] : [LARGE_BYTES, SMALL_FILES];
  for (const {path} of [hosts.source, ...hosts.targets])
    for (const volume of ['large', 'small']) mkdirSync(join(path, volume));
  writePattern(join(hosts.source.path, 'large/file'), largeBytes);
  fillSmall(join(hosts.source.path, 'small'), smallFiles);
  must('sync');
  const smallPaths = Array.from({length: smallFiles}, (_, index) => smallPath(index));
  const large = {volume: 'large', paths: ['file'], payloadBytes: largeBytes};
  const small = {volume: 'small', paths: smallPaths, payloadBytes: smallFiles * SMALL_FILE_BYTES};
  await measure(hosts, large, `${largeBytes >> 20} MiB in one file`, rows);
  await measure(hosts, small, `${smallFiles} files of ${SMALL_FILE_BYTES} B`, rows);
  await hosts.end();
  return rows.all;
};

interface Payload {
  volume: string;
  paths: string[];
  payloadBytes: number;
}

async function measure(hosts: Hosts, {volume, paths, payloadBytes}: Payload, what: string, rows: Rows): Promise<void> {
  const {agent, path} = hosts.targets[0];
  const startMs = performance.now();
  const before = lineOf(agent).receivedBytes;
  const copying = hosts.addVolume(volume);
  while (lineOf(agent).receivedBytes - before < CONTENT_BYTES_MIN) await sleep(LOOK_MS);
  const firstMs = performance.now();
  await untilThere(paths.map((each) => join(path, volume, each)));
  const endMs = performance.now();
  await copying;
  const share = (sinceMs: number): number =>
    (payloadBytes / (((endMs - sinceMs) / 1_000) * (LINE.bitsPerSecond / 8))) * 100;
  rows.tell(`${what}: until seen`, endMs - startMs, 'ms');
  rows.tell(`${what}: before its first content`, firstMs - startMs, 'ms');
  rows.atLeast(`${what}: payload, of the whole time`, share(startMs), '%', SHARE_MIN * 100);
  rows.atLeast(`${what}: payload, from the first content`, share(firstMs), '%', SHARE_MIN * 100);
  const sent = lineOf(agent).receivedBytes - before;
  rows.tell(`${what}: bytes on the line a byte of payload`, sent / payloadBytes, 'times');
}
