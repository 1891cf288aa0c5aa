/**
 * Attacks one decoder in a process of its own, so that who watches can end one that hangs, and outlives one that takes all
 * memory. It notes where it is before each input.
 *
 * Arguments: the URL of a module with DECODERS, and the file that takes the notes. Orders come by IPC.
 */
import {openSync, writeSync} from 'node:fs';
import {randomOf} from '../mutations.ts';
import {faultOf, inputOf, PLACE_BYTES, type Decoder} from './decoder.ts';

export interface AttackOrder {
  /** Index in the module's DECODERS. */
  decoder: number;
  firstSeed: number;
  rounds: number;
  /** Inputs of a round, all from its seed. */
  inputsPerRound: number;
}

export interface AttackResult {
  inputs: number;
  refused: number;
  /** The first that was wrong; nothing was tried after it. */
  fault?: {seed: number; index: number; what: string};
}

const ALLOCATED_BYTES_MAX = 16 << 20; // for one input: the largest that is allowed has 2 MiB
const INPUT_MS_MAX = 250;
const TRIES = 3; // a process may have to wait for others: only what is slow again and again is slow

let allocatedBytes = 0;
for (const name of ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const) {
  const original = Buffer[name].bind(Buffer) as (size: number, ...rest: unknown[]) => Buffer;
  Object.defineProperty(Buffer, name, {
    value: (size: number, ...rest: unknown[]): Buffer => {
      allocatedBytes += size;
      if (allocatedBytes > ALLOCATED_BYTES_MAX) throw new Error(`${allocatedBytes} bytes were taken for one input`);
      return original(size, ...rest);
    },
  });
}

/** @returns what is wrong, undefined for nothing; `isRefused` where it was an error with a code */
async function attempt(decoder: Decoder, input: Buffer): Promise<{fault?: string; isRefused: boolean; ms: number}> {
  allocatedBytes = 0;
  const startMs = performance.now();
  let isRefused = false;
  try {
    const reading = decoder.decode(input);
    if (reading !== undefined) await reading;
  } catch (error) {
    isRefused = true;
    const fault = faultOf(decoder, error);
    if (fault !== undefined) return {fault, isRefused, ms: 0};
  }
  return {isRefused, ms: performance.now() - startMs};
}

async function attack(decoder: Decoder, {firstSeed, rounds, inputsPerRound}: AttackOrder): Promise<AttackResult> {
  const msMax = decoder.inputMsMax ?? INPUT_MS_MAX;
  const result: AttackResult = {inputs: 0, refused: 0};
  for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
    const random = randomOf(seed);
    for (let index = 0; index < inputsPerRound; index++) {
      allocatedBytes = 0;
      const input = inputOf(decoder, random);
      note(seed, index);
      const kept = Buffer.from(input); // a decoder has no right to change it, but one that does is not to hide it
      const tried = await attempt(decoder, input);
      let {ms} = tried;
      for (let again = 1; again < TRIES && ms > msMax; again++)
        ms = Math.min(ms, (await attempt(decoder, Buffer.from(kept))).ms);
      const what = tried.fault ?? (ms > msMax ? `${Math.round(ms)} ms for one input` : undefined);
      if (what !== undefined) return {...result, fault: {seed, index, what}};
      result.inputs++;
      if (tried.isRefused) result.refused++;
    }
  }
  return result;
}

const [module, notes] = process.argv.slice(2) as [string, string];
const {DECODERS} = (await import(module)) as {DECODERS: readonly Decoder[]};
const fd = openSync(notes, 'r+');
const place = Buffer.alloc(PLACE_BYTES);

function note(seed: number, index: number): void {
  place.writeUInt32LE(seed, 0);
  place.writeUInt32LE(index, 4);
  writeSync(fd, place, 0, PLACE_BYTES, 0);
}

process.on('message', (order: AttackOrder) => {
  void attack(DECODERS[order.decoder] as Decoder, order).then((result) => {
    note(0, 0);
    process.send?.(result);
  });
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
