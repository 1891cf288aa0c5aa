/**
 * Runs one hook of a volume: a program of the operator's, without a shell, in a process group and with an environment of
 * its own.
 *
 * Not when hooks run (quiesce.ts). Invariants: it ends by its timeout, with all that it has started in its group;
 * of what it says a part is kept, the end; what it leaves running with its output open holds nobody up.
 */
import {spawn, type ChildProcess} from 'node:child_process';
import type {Clock} from '../base/clock.ts';
import {messageOf} from '../base/errors.ts';
import type {HookConfig, HookName} from '../config/agent-config.ts';
import type {HookRun} from '../control/agent-api.ts';

export interface HookContext {
  volume: string;
  /** Host path of the volume's root; undefined when it is not known. */
  path: string | undefined;
}

const OUTPUT_BYTES_MAX = 8_192;
const GRACE_MS = 2_000; // from SIGTERM to SIGKILL
const LAST_WORDS_MS = 100; // what it wrote just before its end is on its way
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What a hook finds in its environment, and nothing else. */
function environmentOf(hook: HookName, {volume, path}: HookContext): Record<string, string> {
  return {
    PATH,
    HOME: '/',
    LANG: 'C.UTF-8',
    TOWLINE_VOLUME: volume,
    TOWLINE_HOOK: hook,
    ...(path === undefined ? {} : {TOWLINE_PATH: path}),
  };
}

/** Runs it to its end, or to its timeout. Never rejects: how it went is what it returns. */
export async function runHook(
  hook: HookName,
  {run, timeoutMs}: Pick<HookConfig, 'run' | 'timeoutMs'>,
  {context, clock}: {context: HookContext; clock: Clock},
): Promise<HookRun> {
  const startMs = clock.monotonicMs();
  const [program = '', ...words] = run;
  const env = environmentOf(hook, context);
  const ended = (failure: string | undefined, output: string): HookRun => ({
    hook,
    failure: failure && `the ${hook} hook of ${context.volume} (${program}) ${failure}`,
    output,
    elapsedMs: clock.monotonicMs() - startMs,
  });
  let child: ChildProcess;
  try {
    child = spawn(program, words, {cwd: '/', env, detached: true, stdio: ['ignore', 'pipe', 'pipe']});
  } catch (error) {
    return ended(`cannot be started: ${messageOf(error)}`, '');
  }
  const output = new LastBytes(OUTPUT_BYTES_MAX);
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes: Buffer) => output.add(bytes));
  const exited = exitOf(child);
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const timer = new AbortController();
  const late = clock.sleep(timeoutMs, timer.signal).then(
    () => 'late' as const,
    () => new Promise<never>(() => {}),
  );
  const first = await Promise.race([exited, late]);
  timer.abort();
  let failure: string | undefined;
  if (first === 'late') {
    await endGroup(child, exited, clock);
    failure = `did not end within ${timeoutMs / 1_000} s and was killed`;
  } else failure = first;
  await Promise.race([closed, clock.sleep(LAST_WORDS_MS)]);
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.unref(); // one that could not be ended keeps nobody here
  return ended(failure, output.text());
}

/** Undefined for an exit with 0. */
function exitOf(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(`cannot be started: ${messageOf(error)}`));
    child.once('exit', (code, signal) => {
      if (code === 0) resolve(undefined);
      else resolve(code === null ? `was ended by ${signal}` : `ended with ${code}`);
    });
  });
}

/** Asks the whole group to end, and makes it: what the program has started goes with it. */
async function endGroup(child: ChildProcess, exited: Promise<unknown>, clock: Clock): Promise<void> {
  const {pid} = child;
  if (pid === undefined) return;
  signalGroup(pid, 'SIGTERM');
  await Promise.race([exited, clock.sleep(GRACE_MS)]);
  signalGroup(pid, 'SIGKILL'); // also those that the program itself has left behind
  await Promise.race([exited, clock.sleep(GRACE_MS)]); // one that waits for its disk ends when that answers
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // It has gone, or has become another user's.
  }
}

class LastBytes {
  readonly #countMax: number;
  #bytes = Buffer.alloc(0);

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  add(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes.subarray(-this.#countMax)]).subarray(-this.#countMax);
  }

  text(): string {
    return this.#bytes.toString().trimEnd();
  }
}
