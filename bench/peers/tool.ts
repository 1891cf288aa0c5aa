/**
 * What every tool of the comparison is to the measurement, and how its programs are started.
 *
 * Invariant: what a tool cannot do is `Unable` with the reason in words, never a figure.
 */
import type {ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import type {Host} from '../../test/hosts/namespaces.ts';

/** Why a tool has no figure somewhere: a sentence for the table. */
export class Unable extends Error {}
/** How words begin that tell of a failure, and not of what a tool cannot do. */
export const FAILED = 'failed: ';

/** How long a tool waits after a change before it acts: as it is unless told otherwise, or as little as it can. */
export type Pace = 'usual' | 'hasty';

export interface Tool {
  /** Starts what runs before it is given anything. */
  start(): Promise<void>;
  /** Gives it a volume, a folder below both roots; resolves when it says that the copy is complete. */
  firstCopy(volume: string): Promise<void>;
  /** Has it follow the changes of a volume that it has copied. @throws Unable when it has no such pace */
  follow(volume: string, pace: Pace): Promise<void>;
  /** What a person has to do after each change; nothing where the tool watches. */
  afterChange(volume: string): Promise<void>;
  /** Ends all its processes. */
  stop(): Promise<void>;
  /** Starts it again; resolves when it says that nothing is to do. */
  catchUp(volume: string): Promise<void>;
}

export interface Places {
  /** The roots below which a volume is a folder. */
  source: string;
  target: string;
  /** Folders of the tool's own, one at each end; that of the target lies on the filesystem of its copies. */
  sourceState: string;
  targetState: string;
  here: Host;
  there: Host;
  /** The words of ssh, without the host's name: it reaches the sshd of `there`. */
  shell: string;
  /** Takes down a command line or a setting for the report. */
  record: (text: string) => void;
}

export interface ToolKind {
  /** Debian's package, and the program that must be there. */
  package: string;
  program: string;
  version: () => string;
  /** What a reader of its figures has to know. */
  notes: () => string[];
  make: (places: Places) => Tool;
}

const TAIL_CHARS = 2_000;
const STOP_MS_MAX = 10_000;

/** Runs a program on the source's host to its end. @throws Error with what it said, unless it ended with 0 */
export async function runToEnd({here, record}: Places, words: readonly string[]): Promise<void> {
  record(lineOf(words));
  const child = here.spawn(words, {stdio: ['ignore', 'pipe', 'pipe']});
  const said = tailOf(child);
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code !== 0) throw new Error(`${words[0]} ended with ${code ?? signal}: ${said()}`);
}

/** A program that goes on until it is stopped. */
export class Daemon {
  readonly #child: ChildProcess;
  readonly #said: () => string;

  constructor(host: Host, words: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = host.spawn(words, {stdio: ['ignore', 'pipe', 'pipe'], env: {...process.env, ...env}});
    this.#said = tailOf(this.#child);
  }

  /** Resolves once it has said so. @throws Error with its last words when it ends before */
  async says(pattern: RegExp): Promise<void> {
    const ended = new AbortController();
    const onExit = (): void => ended.abort();
    this.#child.once('exit', onExit);
    try {
      while (!pattern.test(this.#said())) await once(this.#child.stdout!, 'data', {signal: ended.signal});
    } catch {
      throw new Error(`it ended: ${this.#said()}`);
    } finally {
      this.#child.removeListener('exit', onExit);
    }
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get said(): string {
    return this.#said();
  }

  async stop(): Promise<void> {
    if (!this.isRunning) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS_MAX);
    await ended.finally(() => clearTimeout(timer));
  }
}

/** Reads all that a program says, on both of its outputs, and keeps the end of it. */
function tailOf({stdout, stderr}: ChildProcess): () => string {
  let tail = '';
  const keep = (data: Buffer): void => void (tail = `${tail}${data.toString()}`.slice(-TAIL_CHARS));
  stderr!.on('data', keep);
  stdout!.on('data', keep);
  return () => tail;
}

/** As a person types it. */
export function lineOf(words: readonly string[]): string {
  return words.map((word) => (/\s/.test(word) ? `'${word}'` : word)).join(' ');
}
