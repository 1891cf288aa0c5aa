/**
 * A volume of fixed files that is written to on its source without a pause, and a reader of its copy in a process of its
 * own, through all that a lab does meanwhile: the copy is never missing, short, mixed, or of a wrong mode.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {onTestFinished} from 'vitest';
import {killAtEnd} from '../hosts/clean-up.ts';
import {FILE_COUNT, nameOf, putVersion} from './fixed-files.ts';
import type {ReaderReport} from './reader-process.ts';

const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');
const PROGRAM = join(import.meta.dirname, 'reader-process.ts');

export type {ReaderReport};

/** Starts to read. @returns once every file was seen whole */
export async function startReader(folder: string): Promise<{stop(): Promise<ReaderReport>}> {
  const child = killAtEnd(spawn(NODE, [PROGRAM, folder], {stdio: ['pipe', 'pipe', 'inherit']}));
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await once(child.stdout, 'data');
  return {
    stop: async () => {
      const closed = once(child, 'close');
      child.stdin.end();
      await closed;
      return JSON.parse(said.split('\n')[1] ?? '') as ReaderReport;
    },
  };
}

export class FixedFiles {
  readonly #folder: string;
  readonly #aside: string;
  #version = 0;
  #isOver = false;
  #writing: Promise<void> = Promise.resolve();

  /** Writes the first version of each file. @param folder of the source */
  constructor(folder: string) {
    this.#folder = folder;
    this.#aside = `${folder}.aside`;
    mkdirSync(this.#aside, {recursive: true});
    for (let file = 0; file < FILE_COUNT; file++) this.put(file);
  }

  put(file: number): void {
    putVersion(this.#folder, this.#aside, file, ++this.#version);
  }

  /** Another file gets a new version, so often, until `stop`. */
  start(everyMs: number): void {
    this.#isOver = false;
    onTestFinished(() => this.stop());
    this.#writing = (async () => {
      for (let file = 0; !this.#isOver; file = (file + 1) % FILE_COUNT) {
        this.put(file);
        await sleep(everyMs);
      }
    })();
  }

  /** What the product must never do, for as many versions: the first half of a file, and then the second. */
  async rewriteInPlace(count: number): Promise<void> {
    for (let file = 0; count > 0; count--, file = (file + 1) % FILE_COUNT) {
      const path = join(this.#folder, nameOf(file));
      const before = readFileSync(path);
      this.put(file);
      const after = readFileSync(path);
      const middle = after.length / 2;
      writeFileSync(path, Buffer.concat([after.subarray(0, middle), before.subarray(middle)]));
      await sleep(2);
      writeFileSync(path, after);
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#writing;
  }
}
