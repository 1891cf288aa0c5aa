/** What the kernel counts of a running agent: bytes read and written, bytes over its host's line. Source: proc(5). */
import {readFileSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import type {TestAgent} from '../../test/hosts/agent.ts';

const QUIET_BYTES_MAX = 1 << 20; // a second of heartbeats and reports is far below, reading a file far above
const QUIET_SECONDS = 3;
const QUIET_SECONDS_MAX = 900;

export interface Work {
  /** By system calls, of files and sockets, from the cache or not. */
  readBytes: number;
  writtenBytes: number;
  /** Of these, what reached the disk's driver; written pages are counted when they become dirty. */
  diskReadBytes: number;
  diskWrittenBytes: number;
}

export function workOf(agent: TestAgent): Work {
  const text = readFileSync(`/proc/${agent.pid}/io`, 'latin1');
  const figure = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(text)?.[1]);
  return {
    readBytes: figure('rchar'),
    writtenBytes: figure('wchar'),
    diskReadBytes: figure('read_bytes'),
    diskWrittenBytes: figure('write_bytes'),
  };
}

export function workSince(agent: TestAgent, before: Work): Work {
  const now = workOf(agent);
  return {
    readBytes: now.readBytes - before.readBytes,
    writtenBytes: now.writtenBytes - before.writtenBytes,
    diskReadBytes: now.diskReadBytes - before.diskReadBytes,
    diskWrittenBytes: now.diskWrittenBytes - before.diskWrittenBytes,
  };
}

/** Bytes over the line of an agent's host, headers and all. */
export function lineOf(agent: TestAgent): {receivedBytes: number; sentBytes: number} {
  const text = readFileSync(`/proc/${agent.pid}/net/dev`, 'latin1');
  const figures = /^ *eth0: *(.*)$/m.exec(text)?.[1]?.split(/ +/).map(Number);
  if (figures === undefined) throw new Error(`the host of ${agent.name} has no eth0: ${text}`);
  return {receivedBytes: figures[0]!, sentBytes: figures[8]!};
}

/** Waits until no agent has read or written more than a little for some seconds. */
export async function untilQuiet(...agents: TestAgent[]): Promise<void> {
  let quietSeconds = 0;
  for (let second = 0; quietSeconds < QUIET_SECONDS; second++) {
    if (second > QUIET_SECONDS_MAX) throw new Error(`the agents were not quiet within ${QUIET_SECONDS_MAX} s`);
    const before = agents.map(workOf);
    await sleep(1_000);
    const work = agents.map((agent, index) => workSince(agent, before[index]!));
    const isQuiet = work.every(({readBytes, writtenBytes}) => readBytes + writtenBytes < QUIET_BYTES_MAX);
    quietSeconds = isQuiet ? quietSeconds + 1 : 0;
  }
}
