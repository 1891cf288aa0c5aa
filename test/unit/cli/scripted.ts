/**
 * A command line without its process: streams that keep what was written, signals that are sent by the test, and runs
 * that tell and return what a test says. The rest (parsing, folders, views, exit codes) is the program's own.
 */
import {EventEmitter} from 'node:events';
import type {Clock} from '../../../src/base/clock.ts';
import type {AgentDaemon, AgentRecords, AgentRecovery} from '../../../src/cli/agent-parts.ts';
import type {DoctorSources} from '../../../src/cli/doctor-command.ts';
import type {CliParts} from '../../../src/cli/parts.ts';
import {runCli} from '../../../src/cli/run.ts';
import type {Halt, SyncDaemon, SyncEvent, SyncOptions, SyncOutcome, SyncParts} from '../../../src/daemon/sync-api.ts';
import type {Problem} from '../../../src/model/problem.ts';
import {zeroStats} from '../../../src/model/status.ts';

export const START_MS = Date.UTC(2026, 10, 20, 13, 2, 11, 250);

/** An outcome that is in sync, but for what is given. */
export function outcomeOf(over: Partial<SyncOutcome> = {}): SyncOutcome {
  return {
    exitCode: 0,
    status: {kind: 'in-sync', asOfMs: START_MS, digest: '3f2a91bc7d01ffee'.repeat(4)},
    stats: {...zeroStats(), entriesScanned: 1_234, contentBytes: 12_897_485, filesSent: 7},
    problems: [],
    problemCount: 0,
    error: undefined,
    isInSync: true,
    digest: '3f2a91bc7d01ffee'.repeat(4),
    elapsedMs: 1_250,
    assumedCount: 0,
    peakMemoryBytes: 90 * 2 ** 20,
    folders: {state: '/s', staging: '/g', trash: '/t'},
    ...over,
  };
}

export function problemOf(path: string, message = 'permission denied'): Problem {
  return {
    path,
    code: 'unreadable',
    message,
    side: 'source',
    firstSeenMs: START_MS,
    lastSeenMs: START_MS,
    nextTryMs: undefined,
  };
}

export interface Script {
  events?: SyncEvent[];
  /** What the run does; the default tells the events and is in sync. */
  run?: (options: SyncOptions, parts: SyncParts, signals: EventEmitter) => Promise<SyncOutcome>;
  outcome?: SyncOutcome;
  halt?: Halt;
  agent?: Partial<AgentDaemon>;
  records?: Partial<AgentRecords>;
  recovery?: Partial<AgentRecovery>;
  doctor?: Partial<DoctorSources>;
  isTerminal?: boolean;
  /** Of the terminal; 100. */
  columns?: number;
  rows?: number;
  /** Called with each block of stdout, as it is written. */
  onStdout?: (text: string, signals: EventEmitter) => void;
  /** Called once somebody listens for signals. */
  onSignals?: (signals: EventEmitter) => void;
  env?: Record<string, string>;
  answer?: string;
  loadFails?: Error;
}

export interface Ran {
  exitCode: number;
  stdout: string;
  stderr: string;
  /** Options of the runs that were started. */
  runs: SyncOptions[];
  confirmed: object[];
  endedNow: number[];
}

export async function runScripted(argv: string[], script: Script = {}): Promise<Ran> {
  const ran: Ran = {exitCode: -1, stdout: '', stderr: '', runs: [], confirmed: [], endedNow: []};
  const signals = new EventEmitter();
  let nowMs = 0;
  const clock: Clock = {nowMs: () => START_MS, monotonicMs: () => (nowMs += 100), sleep: () => Promise.resolve()};
  const daemon: SyncDaemon = {
    runSync: async (options, parts) => {
      ran.runs.push(options);
      if (script.run !== undefined) return script.run(options, parts, signals);
      for (const event of script.events ?? []) parts.onEvent(event);
      return script.outcome ?? outcomeOf();
    },
    readHalt: () => Promise.resolve(script.halt),
    confirmHalt: (request) => {
      ran.confirmed.push(request);
      return Promise.resolve();
    },
  };
  const answer = script.answer;
  const parts: CliParts = {
    stdout: {
      write: (text) => {
        ran.stdout += text;
        script.onStdout?.(text, signals);
      },
      isTerminal: script.isTerminal === true,
      columns: script.columns ?? 100,
      rows: script.rows,
    },
    stderr: {
      write: (text) => (ran.stderr += text),
      isTerminal: script.isTerminal === true,
      columns: script.columns ?? 100,
    },
    env: {HOME: '/nonexistent', ...script.env},
    clock,
    signals,
    exitNow: (code) => ran.endedNow.push(code),
    readerGone: new AbortController().signal,
    ask: answer === undefined ? undefined : () => Promise.resolve(answer),
    loadDaemon: () => (script.loadFails === undefined ? Promise.resolve(daemon) : Promise.reject(script.loadFails)),
    loadAgent: () => Promise.resolve({runAgent: unscripted, onceStandalone: unscripted, ...script.agent}),
    loadRecovery: () => Promise.resolve({recoverAgent: unscripted, ...script.recovery}),
    loadRecords: () =>
      Promise.resolve({
        readActionLog: unscripted,
        listTrash: unscripted,
        restoreTrash: unscripted,
        emptyTrash: unscripted,
        ...script.records,
      }),
    loadDoctor: () =>
      Promise.resolve({
        loadConfig: unscripted,
        loadIdentity: unscripted,
        findRoot: unscripted,
        askEngine: unscripted,
        configNotices: () => [],
        ...script.doctor,
      }),
  };
  if (script.onSignals !== undefined) signals.once('newListener', () => setImmediate(script.onSignals!, signals));
  ran.exitCode = await runCli(argv, parts);
  return ran;
}

function unscripted(): never {
  throw new Error('the test does not say what this does');
}

/** The lines of a text, without the last line break. */
export function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}
