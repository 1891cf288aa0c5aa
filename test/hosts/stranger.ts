/** Starts strangers (stranger-process.ts) in a host, and says what they saw. */
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import type {Host} from './namespaces.ts';
import type {CrowdReport, Overheard, StrangerTask} from './stranger-process.ts';

const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');
const PROGRAM = join(import.meta.dirname, 'stranger-process.ts');

/** Calls and listens until the other side closes. */
export async function call(host: Host, task: Omit<StrangerTask & {do: 'call'}, 'do'>): Promise<Overheard> {
  return (await firstLine(host, {do: 'call', ...task})) as Overheard;
}

/** Takes an agent's place at its address. @returns once it listens: what the next caller said to it */
export async function answer(
  host: Host,
  task: Omit<StrangerTask & {do: 'answer'}, 'do'>,
): Promise<{next(): Promise<Overheard>}> {
  const lines = linesOf(host, {do: 'answer', ...task});
  await lines.next();
  return {next: async () => (await lines.next()).value as Overheard};
}

/** Holds sockets open until all were closed. */
export async function crowd(host: Host, task: Omit<StrangerTask & {do: 'crowd'}, 'do'>): Promise<CrowdReport> {
  return (await firstLine(host, {do: 'crowd', ...task})) as CrowdReport;
}

async function firstLine(host: Host, task: StrangerTask): Promise<unknown> {
  return (await linesOf(host, task).next()).value;
}

async function* linesOf(host: Host, task: StrangerTask): AsyncGenerator<unknown, unknown> {
  const child = host.spawn([NODE, PROGRAM, JSON.stringify(task)], {stdio: ['ignore', 'pipe', 'inherit']});
  for await (const line of createInterface({input: child.stdout!})) yield JSON.parse(line) as unknown;
  throw new Error(`the stranger who should ${task.do} has ended`);
}
