/**
 * The programs that are compared, each started as a user starts it, timed from its start to its end.
 *
 * Invariant: a run that did not end with 0 is an error, never a figure.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {mkdirSync, readFileSync, readdirSync, rmSync} from 'node:fs';
import {join} from 'node:path';

const PROJECT = join(import.meta.dirname, '../..');
const LAUNCHER = join(PROJECT, 'bin/towline.js');
const SOURCES = join(PROJECT, 'src/main.ts'); // in a profile, lines of the sources tell more than lines of the bundle
export const PROFILES = join(PROJECT, 'bench/out/profiles');
const POLL_MS = 20;

export const TOOLS = ['towline', 'rsync', 'rsync delta'] as const;
export type ToolName = (typeof TOOLS)[number];
export type Column = 'durable' | 'plain';

export interface Measured {
  seconds: number;
  /** Content that travelled, as the program itself says. */
  sentBytes: number;
  /** VmHWM of the whole process; undefined for rsync, which is three processes. */
  memoryBytes: number | undefined;
}

export interface Places {
  source: string;
  /** The root of the target's filesystem: the copy is in `copy`, Towline's state in `state`. */
  target: string;
}

/** @param profile a name: a CPU profile of every thread is written below PROFILES */
export async function runTool(tool: ToolName, column: Column, places: Places, profile?: string): Promise<Measured> {
  return tool === 'towline' ? runTowline(column, places, profile) : runRsync(tool, column, places);
}

async function runTowline(column: Column, {source, target}: Places, profile: string | undefined): Promise<Measured> {
  const flags = profile === undefined ? [] : profileFlags(join(PROFILES, profile));
  const args = ['sync', source, copyOf(target), '--once', '--stats', '--state', join(target, 'state')];
  if (column === 'plain') args.push('--durability', 'none');
  const main = profile === undefined ? LAUNCHER : SOURCES;
  const env = profile === undefined ? process.env : {...process.env, PROFILE_FOLDER: join(PROFILES, profile)};
  const {seconds, stdout, memoryBytes} = await timed(process.execPath, [...flags, main, ...args], env);
  const own = Number(/^ *Peak memory +([\d.]+) MiB/m.exec(stdout)?.[1] ?? 0) * 1024 * 1024;
  return {
    seconds,
    sentBytes: figure(stdout, /^ *Content sent .*\(([\d,. ]+) B\)/m),
    memoryBytes: Math.max(memoryBytes, own),
  };
}

function profileFlags(folder: string): string[] {
  rmSync(folder, {recursive: true, force: true});
  mkdirSync(folder, {recursive: true});
  return ['--import', join(import.meta.dirname, 'profile-thread.ts')];
}

async function runRsync(tool: ToolName, column: Column, {source, target}: Places): Promise<Measured> {
  const args = ['-aH', '--numeric-ids', '--delete', '--stats'];
  if (column === 'durable') args.push('--fsync');
  if (tool === 'rsync delta') args.push('--no-whole-file');
  const {seconds, stdout} = await timed('rsync', [...args, `${source}/`, `${copyOf(target)}/`]);
  return {seconds, sentBytes: figure(stdout, /^Literal data: ([\d,.]+) bytes/m), memoryBytes: undefined};
}

/** Where both programs put the copy. */
export function copyOf(target: string): string {
  return join(target, 'copy');
}

function figure(text: string, pattern: RegExp): number {
  const digits = pattern.exec(text)?.[1]?.replace(/\D/g, '');
  if (digits === undefined) throw new Error(`${pattern.source} is not in: ${text}`);
  return Number(digits);
}

let running: ChildProcess | undefined;
process.on('exit', () => running?.kill('SIGKILL')); // it holds the filesystems that go now

export async function timed(
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<{seconds: number; stdout: string; memoryBytes: number}> {
  const startMs = performance.now();
  const child = spawn(command, args, {env, stdio: ['ignore', 'pipe', 'pipe']});
  running = child;
  let [stdout, stderr, memoryBytes] = ['', '', 0];
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const poll = setInterval(() => (memoryBytes = Math.max(memoryBytes, highWaterBytes(child))), POLL_MS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const seconds = (performance.now() - startMs) / 1000;
  clearInterval(poll);
  running = undefined;
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
  return {seconds, stdout, memoryBytes};
}

function highWaterBytes(child: ChildProcess): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it has just ended
  }
}

interface CpuProfile {
  nodes: {id: number; callFrame: CallFrame; children?: number[]}[];
  samples: number[];
  timeDeltas: number[];
}
interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
}

/** Not the program's: waiting, and the profiler itself. */
const NOT_COUNTED = /^\((idle|root)\)|node:inspector|profile-thread/;

/** The functions where each thread spent most of its own time, most first: `1.23 s  name file:line`. */
export function topOfProfiles(profile: string, countMax: number): string[] {
  const folder = join(PROFILES, profile);
  return readdirSync(folder).flatMap((file) => {
    const times = new Map<string, number>();
    for (const line of readFileSync(join(folder, file), 'utf8').split('\n')) {
      if (line !== '') addTimes(JSON.parse(line) as CpuProfile, times);
    }
    const busy = [...times.values()].reduce((sum, seconds) => sum + seconds, 0);
    if (busy < 0.1) return [];
    const top = [...times].sort(([, a], [, b]) => b - a).slice(0, countMax);
    return [
      `${file}: busy ${busy.toFixed(2)} s`,
      ...top.map(([name, seconds]) => `  ${seconds.toFixed(2)} s  ${name}`),
    ];
  });
}

function addTimes({nodes, samples, timeDeltas}: CpuProfile, times: Map<string, number>): void {
  const callerOf = new Map(nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node] as const)));
  const nameOf = new Map(
    nodes.map((node) => {
      let caller: CpuProfile['nodes'][number] | undefined = node;
      while (caller !== undefined && !caller.callFrame.url.includes('/src/')) caller = callerOf.get(caller.id);
      const by = caller === undefined || caller === node ? '' : `  in ${frameName(caller.callFrame)}`;
      return [node.id, `${frameName(node.callFrame)}${by}`];
    }),
  );
  samples.forEach((id, index) => {
    const name = nameOf.get(id)!;
    if (!NOT_COUNTED.test(name)) times.set(name, (times.get(name) ?? 0) + (timeDeltas[index] ?? 0) / 1e6);
  });
}

function frameName({functionName, url, lineNumber}: CallFrame): string {
  const place = url.replace(/^.*\/(src|node_modules)\//, '$1/');
  return `${functionName || '(anonymous)'}${place === '' ? '' : ` ${place}:${lineNumber + 1}`}`;
}
