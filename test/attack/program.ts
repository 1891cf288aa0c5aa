/**
 * Towline under attack: run from its sources, with its walls or without, and with a count of what it does in volumes.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {readdirSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {pathToFileURL} from 'node:url';
import {afterAll} from 'vitest';
import type {RunOptions} from '../sync/harness.ts';
import {makeTmpDir} from '../tmp.ts';
import type {Restored} from './restorer.ts';

const alive = new Set<ChildProcess>();
afterAll(() => {
  for (const child of alive) child.kill('SIGKILL');
});

const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');
const PROJECT = join(import.meta.dirname, '../..');
const COUNT = join(import.meta.dirname, 'count.ts');
const PLAIN = join(import.meta.dirname, '../plain/register.ts');

/** Which walls are taken away; see test/plain/register.ts. */
export type Without = 'nothing' | 'paths' | 'jail' | 'paths,jail';

/** Counts the operations of all programs that were started with its options. */
export class Counted {
  readonly #folder = makeTmpDir();

  options(without: Without = 'nothing'): RunOptions {
    const preloads = without === 'nothing' ? [COUNT] : [PLAIN, COUNT];
    return {
      main: join(PROJECT, 'src/main.ts'),
      env: {
        NODE_OPTIONS: preloads.map((path) => `--import ${pathToFileURL(path).href}`).join(' '),
        TOWLINE_TEST_COUNTS: this.#folder,
        ...(without === 'nothing' ? {} : {TOWLINE_TEST_PLAIN: without}),
      },
      timeoutMs: 60_000,
    };
  }

  /** Calls that named something in a volume, so far. */
  get count(): number {
    const counts = readdirSync(this.#folder).map((name) => {
      const bytes = readFileSync(join(this.#folder, name));
      return bytes.length < 8 ? 0 : bytes.readDoubleLE(0);
    });
    return counts.reduce((sum, count) => sum + count, 0);
  }
}

/** A process that takes things out of a trash. */
export interface Restoring {
  /** So far. */
  readonly done: Restored;
  stop(): Promise<void>;
}

/** Takes things out of a trash into a folder until it is stopped (restorer.ts). */
export function startRestoring({trash, folder}: {trash: string; folder: string}, {env}: RunOptions): Restoring {
  const child = spawn(NODE, [join(import.meta.dirname, 'restorer.ts'), trash, folder], {env: {...process.env, ...env}});
  alive.add(child);
  let done: Restored = {restored: 0, failed: 0, emptied: 0, lastFailure: ''};
  let stderr = '';
  createInterface(child.stdout).on('line', (line) => (done = JSON.parse(line) as Restored));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = once(child, 'close').then(() => alive.delete(child));
  return {
    get done() {
      return done;
    },
    stop: async () => {
      child.stdin.end();
      await ended;
      if (child.exitCode !== 0) throw new Error(`restorer.ts ended with ${child.exitCode}: ${stderr}`);
    },
  };
}
