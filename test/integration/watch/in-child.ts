/**
 * A process of its own that watches (watch-child.ts), seen from the test: it can be stopped, or live under limits.
 */
import {spawn, type ChildProcess} from 'node:child_process';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {expect, onTestFinished} from 'vitest';
import {expectSoon} from './watcher-contract.ts';

export interface WatchChild {
  process: ChildProcess;
  lines: Record<string, unknown>[];
}

/** Waits for a line that has these properties. */
export async function expectLine({lines}: WatchChild, properties: object): Promise<Record<string, unknown>> {
  await expectSoon(() => expect(lines).toContainEqual(expect.objectContaining(properties)));
  return lines.find((line) => Object.entries(properties).every(([key, value]) => line[key] === value)) as Record<
    string,
    unknown
  >;
}

/** @param roots several share one thread @param limits of a user namespace of its own, so that nobody else runs into them */
export function watchInChild(roots: string | string[], limits: Record<string, number> = {}): WatchChild {
  const script = [
    ...Object.entries(limits).map(([name, limit]) => `echo ${limit} > /proc/sys/user/${name} || exit 3`),
    'exec "$0" "$@"',
  ].join('\n');
  const command = [process.execPath, join(import.meta.dirname, 'watch-child.ts'), ...[roots].flat()];
  const isLimited = Object.keys(limits).length > 0;
  const child = isLimited
    ? spawn('unshare', ['-Ur', 'sh', '-c', script, ...command], {stdio: ['pipe', 'pipe', 'inherit']})
    : spawn(command[0] as string, command.slice(1), {stdio: ['pipe', 'pipe', 'inherit']});
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines: Record<string, unknown>[] = [];
  createInterface({input: child.stdout}).on('line', (line) => lines.push(JSON.parse(line) as Record<string, unknown>));
  return {process: child, lines};
}
