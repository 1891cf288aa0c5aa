/**
 * Attacks decoders in a process of its own, and watches it: one that hangs is ended, one that takes all memory ends by
 * itself, and either is told with the input that did it. The next attack begins in a new process.
 */
import {fork, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {makeTmpDir} from '../../tmp.ts';
import {randomOf} from '../mutations.ts';
import {inputOf, PLACE_BYTES, type Decoder} from './decoder.ts';
import type {AttackOrder, AttackResult} from './decoders.child.ts';

const CHILD = new URL('./decoders.child.ts', import.meta.url);
const LOOK_MS = 50;
const HEAP_MIB_MAX = 320; // some 150 of it are the programs
const RSS_BYTES_MAX = 256 * 1024 * 1024;
const INPUTS_PER_ROUND = 1_000;

export interface Attacked extends AttackResult {
  rssGrowthBytes: number;
}

interface Running {
  child: ChildProcess;
  /** Where it notes its place. */
  notes: string;
}

export class Attacker {
  readonly #module: string;
  readonly #decoders: readonly Decoder[];
  readonly #hangMs: number;
  #running: Promise<Running> | undefined;

  /** @param options `hangMs`: an input that takes so long is taken to hang */
  constructor(options: {module: string; decoders: readonly Decoder[]; hangMs: number}) {
    this.#module = new URL(options.module, import.meta.url).href;
    this.#decoders = options.decoders;
    this.#hangMs = options.hangMs;
  }

  async attack(name: string, {firstSeed, rounds}: {firstSeed: number; rounds: number}): Promise<Attacked> {
    const {child, notes} = await (this.#running ??= this.#start());
    const startBytes = rssBytes(child.pid!);
    const ended = Promise.withResolvers<AttackResult>();
    const faultHere = (what: string): void => ended.resolve({inputs: 0, refused: 0, fault: {...placeIn(notes), what}});
    const onExit = (code: number | null, signal: string | null): void =>
      faultHere(`the process ended: ${signal ?? `exit code ${code}`}`);
    const onResult = (result: AttackResult): void => ended.resolve(result);
    child.on('message', onResult).on('exit', onExit);
    let rssGrowthBytes = 0;
    let last = {at: '', sinceMs: performance.now()};
    const timer = setInterval(() => {
      rssGrowthBytes = Math.max(rssGrowthBytes, rssBytes(child.pid!) - startBytes);
      const {seed, index} = placeIn(notes);
      const at = `${seed}/${index}`;
      if (at !== last.at) last = {at, sinceMs: performance.now()};
      else if (seed !== 0 && performance.now() - last.sinceMs > this.#hangMs) faultHere('it does not come back');
      if (rssGrowthBytes > RSS_BYTES_MAX) faultHere(`memory grew by ${rssGrowthBytes} bytes`);
    }, LOOK_MS);
    const decoder = this.#decoders.findIndex((each) => each.name === name);
    child.send({decoder, firstSeed, rounds, inputsPerRound: INPUTS_PER_ROUND} satisfies AttackOrder);
    const result = await ended.promise;
    clearInterval(timer);
    child.off('message', onResult).off('exit', onExit);
    if (result.fault !== undefined) await this.close();
    return {...result, rssGrowthBytes};
  }

  /** The input of a fault, made once more, and how to see it again. */
  shown(name: string, {seed, index, what}: NonNullable<AttackResult['fault']>): string {
    const decoder = this.#decoders.find((each) => each.name === name) as Decoder;
    const random = randomOf(seed);
    let input = inputOf(decoder, random);
    for (let made = 0; made < index; made++) input = inputOf(decoder, random);
    const hex = input.toString('hex');
    const cut = hex.length > 4_000 ? `${hex.slice(0, 4_000)}… (${input.length} bytes)` : hex;
    return `${name}: ${what}\n  again with TOWLINE_LAB_SEED=${seed} TOWLINE_LAB_ROUNDS=1, input ${index}: ${cut}`;
  }

  async close(): Promise<void> {
    const running = await this.#running;
    this.#running = undefined;
    if (running === undefined || running.child.exitCode !== null || running.child.signalCode !== null) return;
    const exited = once(running.child, 'exit');
    running.child.kill('SIGKILL');
    await exited;
  }

  async #start(): Promise<Running> {
    const notes = join(makeTmpDir('file'), 'place');
    writeFileSync(notes, Buffer.alloc(PLACE_BYTES));
    // What V8 says at length when the memory is at its end is not the lab's.
    const child = fork(CHILD, [this.#module, notes], {
      execArgv: [`--max-old-space-size=${HEAP_MIB_MAX}`],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    const ready = await Promise.race([once(child, 'message'), once(child, 'exit')]);
    if (ready[0] !== 'ready') throw new Error(`the process of the decoders ended with ${ready.join(' ')}`);
    return {child, notes};
  }
}

function placeIn(notes: string): {seed: number; index: number} {
  const place = readFileSync(notes);
  return {seed: place.readUInt32LE(0), index: place.readUInt32LE(4)};
}

/** @returns 0 for one that has ended */
function rssBytes(pid: number): number {
  try {
    return 1_024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
