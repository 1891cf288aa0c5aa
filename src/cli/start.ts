/**
 * The command line in this very process: streams, signals, and the end of it.
 *
 * Invariant: a reader of stdout that goes away (`| head`) ends the run quietly; an exception that nobody caught ends it
 * with code 70 and what to report.
 */
import {systemClock} from '../base/clock.ts';
import {TowlineError} from '../base/errors.ts';
import type {CliParts, OutStream} from './parts.ts';
import {fail, runCli} from './run.ts';
import {Screen} from './screen.ts';

const COLUMNS = 80; // where there is no terminal, and where it does not tell

/** Runs what was typed, then ends the process with its exit code. */
export async function startCli(): Promise<void> {
  const argv = process.argv.slice(2);
  const parts = partsOfProcess();
  const onBug = (thrown: unknown): void => process.exit(fail(thrown, argv, {...parts, screen: new Screen(parts)}));
  process.on('uncaughtException', onBug);
  process.on('unhandledRejection', onBug);
  const exitCode = await runCli(argv, parts);
  // Not left to the event loop: a handle that was forgotten must not keep a finished command alive.
  process.exit(exitCode);
}

function partsOfProcess(): CliParts {
  const readerGone = new AbortController();
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || error.code === 'EIO') return readerGone.abort();
    const details = {syscall: 'write', errno: error.code ?? '', path: 'stdout'};
    throw new TowlineError('SYSTEM', `cannot write to stdout: ${error.message}`, details, {cause: error});
  });
  process.stderr.on('error', () => {}); // nobody is left to be told
  return {
    stdout: outStream(process.stdout, () => !readerGone.signal.aborted),
    stderr: outStream(process.stderr, () => true),
    env: process.env,
    clock: systemClock,
    signals: process,
    exitNow: (code) => process.exit(code),
    readerGone: readerGone.signal,
    ask: process.stdin.isTTY ? askOnTerminal : undefined,
    loadDaemon: () => import('../daemon/sync.ts'),
    loadAgent: () => import('../daemon/agent.ts'),
    loadRecovery: () => import('../daemon/recover-agent.ts'),
    loadRecords: () => import('../daemon/agent-records.ts'),
    loadDoctor: () => import('../daemon/doctor.ts'),
  };
}

function outStream(stream: NodeJS.WriteStream, isOpen: () => boolean): OutStream {
  return {
    write: (text) => isOpen() && stream.write(text),
    isTerminal: stream.isTTY,
    get columns() {
      return stream.columns || COLUMNS;
    },
    get rows() {
      return stream.rows || undefined;
    },
  };
}

async function askOnTerminal(question: string): Promise<string> {
  const {createInterface} = await import('node:readline/promises');
  const terminal = createInterface({input: process.stdin, output: process.stderr});
  // The end of the input is no answer.
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')));
  try {
    return await Promise.race([terminal.question(question), closed]);
  } finally {
    terminal.close();
  }
}
