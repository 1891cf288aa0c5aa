/**
 * Runs `towline` as a user would: the built program in a process of its own, a pair of folders, a state folder.
 *
 * Build before (`npm test` does). To try sources as they are, set TOWLINE_TEST_MAIN=src/main.ts.
 * Judges are other programs (rsync, find, sha256sum), never Towline's digests. Invariant: no process outlives its file.
 */
import {type ChildProcess, spawn, spawnSync} from 'node:child_process';
import {mkdirSync, readdirSync, readFileSync, existsSync} from 'node:fs';
import {join, resolve} from 'node:path';
import {afterAll, onTestFinished} from 'vitest';
import {makeTmpDir} from '../tmp.ts';

const PROJECT = join(import.meta.dirname, '../..');
const NODE = join(PROJECT, 'node_modules/.bin/node');
const MAIN = resolve(PROJECT, process.env['TOWLINE_TEST_MAIN'] ?? 'dist/main.js');
const DEADLINE_MS = 20_000;

/** Two folders and where their state is kept; absolute paths. */
export interface Pair {
  source: string;
  target: string;
  state: string;
}

/** One line of `--json`. */
export interface JsonEvent {
  event: string;
  [key: string]: unknown;
}

/** The last line of `--json`; `stats` has the names of LinkStats. */
export interface ResultEvent extends JsonEvent {
  exitCode: number;
  inSync: boolean;
  assumedCount: number;
  problemCount: number;
  problems: {path: string; code: string; message: string; side: string}[];
  stats: Record<string, number>;
  folders: {state: string; staging: string; trash: string};
}

export interface Run {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** With `--json`: every line of stdout, the result last. */
  events: JsonEvent[];
  /** The `result` line; throws where there is none. */
  readonly result: ResultEvent;
}

export interface RunOptions {
  /** Put before node, for instance `['strace', '-f', …]`. */
  wrapper?: readonly string[];
  /** Instead of the built program: its sources, to which modules of the tests can be added. */
  main?: string;
  env?: Record<string, string>;
  cwd?: string;
  timeoutMs?: number;
}

/** An empty source and, unless said otherwise, a target that is still to be made; both in a new temporary folder. */
export function makePair(until: 'test' | 'file' = 'test', base: string = makeTmpDir(until)): Pair {
  const pair = {source: join(base, 'source'), target: join(base, 'target'), state: join(base, 'state')};
  mkdirSync(pair.source);
  return pair;
}

/** Another filesystem at a new folder inside a volume, until the test is over. */
export function mountInside(path: string): void {
  mkdirSync(path);
  command('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path);
  onTestFinished(() => void command('umount', path));
}

/** `towline` with any arguments, to its end. A run that takes longer than `timeoutMs` is killed and rejected. */
export async function towline(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  return new Running(args, options).end(options.timeoutMs ?? 60_000);
}

/** `towline sync SRC DST --once --state STATE --json …`. */
export function syncOnce(pair: Pair, args: readonly string[] = [], options: RunOptions = {}): Promise<Run> {
  return towline(['sync', pair.source, pair.target, '--once', '--state', pair.state, '--json', ...args], options);
}

/** `towline sync SRC DST --state STATE --json …`, which runs until it is stopped. */
export function startLive(pair: Pair, args: readonly string[] = [], options: RunOptions = {}): Running {
  return new Running(['sync', pair.source, pair.target, '--state', pair.state, '--json', ...args], options);
}

const alive = new Set<ChildProcess>();
afterAll(() => {
  for (const child of alive) child.kill('SIGKILL');
});

/** A process of `towline` and what it has said so far. */
export class Running {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #waiters = new Set<() => void>();
  readonly #words: string;
  #stdout = '';
  #stderr = '';
  #partial = '';
  /** Every line of `--json` so far. */
  readonly events: JsonEvent[] = [];

  constructor(args: readonly string[], options: RunOptions = {}) {
    const words = [...(options.wrapper ?? []), NODE, options.main ?? MAIN, ...args];
    this.#words = `towline ${args.join(' ')}`;
    this.#child = spawn(words[0]!, words.slice(1), {
      cwd: options.cwd ?? '/',
      env: {...process.env, NO_COLOR: '1', ...options.env},
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    alive.add(this.#child);
    const isJson = args.includes('--json');
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      if (isJson) this.#read(text);
      this.#wake();
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#wake();
    });
    this.#ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', () => {
        alive.delete(this.#child);
        resolve();
        this.#wake();
      });
    });
    this.#ended.catch(() => undefined);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get hasEnded(): boolean {
    return !alive.has(this.#child);
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The first event that fits, also of those that came before; fails when the process ends without it. */
  async waitForEvent(fits: (event: JsonEvent) => boolean, timeoutMs = DEADLINE_MS): Promise<JsonEvent> {
    let found: JsonEvent | undefined;
    let index = 0;
    await this.waitFor(() => {
      while (found === undefined && index < this.events.length) {
        const event = this.events[index++]!;
        if (fits(event)) found = event;
      }
      return found !== undefined;
    }, timeoutMs);
    return found!;
  }

  /** Waits for the next event that fits and is later than what was said before `mark` (`events.length` of then). */
  async waitForEventAfter(mark: number, fits: (event: JsonEvent) => boolean, timeoutMs = DEADLINE_MS) {
    const isLater = (event: JsonEvent): boolean => this.events.indexOf(event) >= mark && fits(event);
    return this.waitForEvent(isLater, timeoutMs);
  }

  /** Waits until it says that it is in sync (or was, when nothing has happened since). */
  async waitInSync(timeoutMs = DEADLINE_MS): Promise<void> {
    const last = (): JsonEvent | undefined => this.events.findLast(({event}) => event === 'status');
    await this.waitFor(() => last()?.['state'] === 'in-sync', timeoutMs);
  }

  /** Waits for a condition on the disk or on what was said; it is looked at after every output and every 20 ms. */
  async waitFor(isTrue: () => boolean, timeoutMs = DEADLINE_MS): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!isTrue()) {
      if (this.hasEnded) throw this.#failure('has ended while it was waited for');
      if (performance.now() > endMs) throw this.#failure(`did not come to it within ${timeoutMs} ms`);
      await this.#nextOutput();
    }
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeoutMs = 15_000): Promise<Run> {
    if (!this.hasEnded) this.#child.kill(signal);
    return this.end(timeoutMs);
  }

  /** Waits for the end; kills it when that takes too long. */
  async end(timeoutMs = DEADLINE_MS): Promise<Run> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#child.kill('SIGKILL');
    }, timeoutMs);
    await this.#ended.finally(() => clearTimeout(timer));
    if (isLate) throw this.#failure(`did not end within ${timeoutMs} ms`);
    const {exitCode, signalCode: signal} = this.#child;
    const {events} = this;
    const missing = (): Error => this.#failure(`gave no result (exit code ${exitCode})`);
    return {
      exitCode,
      signal,
      stdout: this.#stdout,
      stderr: this.#stderr,
      events,
      get result() {
        const last = events.at(-1);
        if (last?.event !== 'result') throw missing();
        return last as ResultEvent;
      },
    };
  }

  #read(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop()!;
    for (const line of lines) this.events.push(JSON.parse(line) as JsonEvent);
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }

  async #nextOutput(): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, 20);
      this.#waiters.add(wake);
    });
  }

  #failure(what: string): Error {
    return new Error(`${this.#words}: ${what}\n${this.#stderr}\n${this.#stdout.slice(-4_000)}`);
  }
}

/** What rsync would still do to make both equal, contents, metadata (ns) and hard links compared; '' when nothing. */
export function compareByRsync(source: string, target: string, ...more: string[]): string {
  const options = [
    '-aHn',
    '--numeric-ids',
    '--checksum',
    '-i',
    '--delete',
    '--modify-window=-1',
    '--exclude=/.towline',
  ];
  const result = spawnSync('rsync', [...options, ...more, `${source}/`, `${target}/`], {encoding: 'utf8'});
  if (result.status !== 0) throw new Error(`rsync: ${result.stderr || result.error?.message}`);
  return result.stdout;
}

/** One line of the trash's index. */
export interface TrashItem {
  /** Host path of what is kept. */
  at: string;
  path: string;
  reason: string;
  type: string;
}

/** What is in a trash folder (`result.folders.trash`) now, oldest first. */
export function trashOf(folder: string): TrashItem[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .toSorted()
    .flatMap((hour) =>
      readFileSync(join(folder, hour, 'index.ndjson'), 'utf8')
        .trimEnd()
        .split('\n'),
    )
    .map((line) => JSON.parse(line) as {place: string; path: string; reason: string; type: string})
    .map(({place, path, reason, type}) => ({at: join(folder, place), path, reason, type}));
}

/** A program that must succeed; its stdout. */
export function command(...words: string[]): string {
  const [program = '', ...args] = words;
  const result = spawnSync(program, args, {encoding: 'utf8', maxBuffer: 1 << 28});
  if (result.status !== 0) throw new Error(`${words.join(' ')}: ${result.stderr || result.error?.message}`);
  return result.stdout;
}
