/**
 * Attacks decoders in a thread of its own, and watches it: one that hangs or takes all memory is ended, and told with the
 * input that did it. The next attack begins in a new thread.
 */
import {Worker} from 'node:worker_threads';
import {randomOf} from '../mutations.ts';
import {inputOf, type Decoder} from './decoder.ts';
import type {AttackerData, AttackOrder, AttackResult} from './decoders.worker.ts';

const WORKER = new URL('./decoders.worker.ts', import.meta.url);
const LOOK_MS = 50;
const HEAP_MIB_MAX = 320; // some 150 of it are the programs
const RSS_BYTES_MAX = 256 * 1024 * 1024;
const INPUTS_PER_ROUND = 1_000;

export interface Attacked extends AttackResult {
  rssGrowthBytes: number;
}

export class Attacker {
  readonly #module: string;
  readonly #decoders: readonly Decoder[];
  readonly #hangMs: number;
  #running: Promise<{worker: Worker; at: Int32Array}> | undefined;

  /** @param options `hangMs`: an input that takes so long is taken to hang */
  constructor(options: {module: string; decoders: readonly Decoder[]; hangMs: number}) {
    this.#module = new URL(options.module, import.meta.url).href;
    this.#decoders = options.decoders;
    this.#hangMs = options.hangMs;
  }

  async attack(name: string, {firstSeed, rounds}: {firstSeed: number; rounds: number}): Promise<Attacked> {
    const {worker, at} = await (this.#running ??= this.#start());
    const startBytes = process.memoryUsage.rss();
    const ended = Promise.withResolvers<AttackResult>();
    const faultHere = (what: string): void =>
      ended.resolve({inputs: 0, refused: 0, fault: {seed: at[0]!, index: at[1]!, what}});
    const onError = (error: NodeJS.ErrnoException): void => faultHere(`the thread ended: ${error.code ?? error.stack}`);
    const onResult = (result: AttackResult): void => ended.resolve(result);
    worker.on('message', onResult).on('error', onError);
    let rssGrowthBytes = 0;
    let last = {place: '', sinceMs: performance.now()};
    const timer = setInterval(() => {
      rssGrowthBytes = Math.max(rssGrowthBytes, process.memoryUsage.rss() - startBytes);
      const place = at.join('/');
      if (place !== last.place) last = {place, sinceMs: performance.now()};
      else if (at[0] !== 0 && performance.now() - last.sinceMs > this.#hangMs) faultHere('it does not come back');
      if (rssGrowthBytes > RSS_BYTES_MAX) faultHere(`memory grew by ${rssGrowthBytes} bytes`);
    }, LOOK_MS);
    const decoder = this.#decoders.findIndex((each) => each.name === name);
    worker.postMessage({decoder, firstSeed, rounds, inputsPerRound: INPUTS_PER_ROUND} satisfies AttackOrder);
    const result = await ended.promise;
    clearInterval(timer);
    worker.off('message', onResult).off('error', onError);
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
    running?.worker.on('error', () => undefined);
    await running?.worker.terminate();
  }

  async #start(): Promise<{worker: Worker; at: Int32Array}> {
    const at = new Int32Array(new SharedArrayBuffer(8));
    const workerData: AttackerData = {module: this.#module, at};
    const worker = new Worker(WORKER, {workerData, resourceLimits: {maxOldGenerationSizeMb: HEAP_MIB_MAX}});
    const ready = Promise.withResolvers<void>();
    const onReady = (): void => ready.resolve();
    worker.once('message', onReady).once('error', ready.reject);
    await ready.promise;
    worker.off('error', ready.reject);
    return {worker, at};
  }
}
