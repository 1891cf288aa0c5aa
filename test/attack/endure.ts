/**
 * Runs Towline in an arena under attack, in every way that it is run: a first copy, further single runs, live, killed and
 * started again, with its state lost; and beside it things are taken out of the trash.
 *
 * Invariant: a run that ends as if it had found a bug of its own, or tells anything of what is outside, is an error.
 */
import {rmSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {startLive, syncOnce, type JsonEvent, type Run} from '../sync/harness.ts';
import {attack, IGNORE_FLAGS, type Arena} from './arena.ts';
import {SECRET} from './outside.ts';
import {Counted, startRestoring, type Restoring, type Without} from './program.ts';
import type {Restored} from './restorer.ts';

export const FLAGS = [...IGNORE_FLAGS, '--delete-limit', 'none', '--settle', '5ms'];

/** How fast attackers and the application are. */
export const PACE = {sourceRestMs: 8, targetRestMs: 8, workRestMs: 10};

/** Done, done but for some paths, refused or given up because of what others did to Towline's own folder. */
const EXPECTED_CODES: readonly (number | null)[] = [0, 1, 8];

export interface EndureOptions {
  seed: number;
  /** How long each live run is. */
  liveMs: number;
  /** It goes on until it has done so many operations, all of what is asked for, and so long. */
  operationsMin: number;
  msMin: number;
  /** As the program tells them. */
  ops: readonly string[];
  /** Beyond it nothing is waited for. */
  msMax: number;
  without?: Without;
}

export interface Endured {
  operations: number;
  swaps: number;
  /** How often each was done, of what the program told. */
  applied: Record<string, number>;
  runs: number;
  restored: Restored | undefined;
}

export async function endure(arena: Arena, options: EndureOptions): Promise<Endured> {
  const counted = new Counted();
  const program = counted.options(options.without);
  const applied: Record<string, number> = {};
  const beganMs = performance.now();
  const attackers = await attack(arena, {seed: options.seed, ...PACE});
  let restoring: Restoring | undefined;
  let runs = 0;
  const isEnough = (): boolean => {
    const ms = performance.now() - beganMs;
    const hasAll = options.ops.every((op) => applied[op] !== undefined) && (restoring?.done.restored ?? 0) > 0;
    return ms >= options.msMax || (ms >= options.msMin && hasAll && counted.count >= options.operationsMin);
  };
  do {
    if (runs % 8 === 6) rmSync(arena.pair.state, {recursive: true, force: true});
    const once = await syncOnce(arena.pair, FLAGS, program);
    judge(once, applied);
    const {trash} = once.events.at(-1)?.['folders'] === undefined ? {trash: ''} : once.result.folders;
    if (trash !== '') restoring ??= startRestoring({trash, folder: join(arena.target.disk.path, 'restored')}, program);
    const live = startLive(arena.pair, FLAGS, program);
    await sleep(options.liveMs); // how long it is attacked
    const isKilled = runs % 4 === 0 && !live.hasEnded;
    judge(await live.stop(isKilled ? 'SIGKILL' : 'SIGTERM', 40_000), applied, isKilled);
    runs += 2;
    const seen = [arena.source, arena.target].flatMap(({witness}) => witness.seen());
    if (seen.length > 0) throw new Error(`outside: ${seen.slice(0, 20).join(', ')}`);
  } while (!isEnough());
  const {swaps} = await attackers.stop();
  await restoring?.stop();
  return {operations: counted.count, swaps, applied, runs, restored: restoring?.done};
}

function judge(run: Run, applied: Record<string, number>, isKilled = false): void {
  const {exitCode, signal, stderr, stdout} = run;
  const isExpected = isKilled ? signal === 'SIGKILL' : EXPECTED_CODES.includes(exitCode);
  if (!isExpected) throw new Error(`a run ended with ${exitCode ?? signal}: ${stderr.slice(-2_000)}`);
  if (stdout.includes(SECRET) || stderr.includes(SECRET)) throw new Error('a run told what is outside');
  for (const event of run.events.filter(isApplied)) applied[event.op] = (applied[event.op] ?? 0) + 1;
}

function isApplied(event: JsonEvent): event is JsonEvent & {op: string} {
  return event.event === 'applied';
}
