/**
 * The command line from arguments to exit code. Touches no process: everything it needs is passed in.
 *
 * Invariant: whatever happens, a failure is one `Error: …` line on stderr, and with `--json` also the last lines of stdout.
 */
import type {CommanderError} from 'commander';
import {agentActions} from './agent-actions.ts';
import {confirmCommand} from './confirm-command.ts';
import {confirmVolume} from './confirm-volume.ts';
import {asTowlineError} from '../base/errors.ts';
import {errorLine, exitCodeOfError, stackOf} from './failure.ts';
import {JsonView} from './json-view.ts';
import type {CliParts} from './parts.ts';
import {peerActions} from './peer-actions.ts';
import {makeProgram} from './program.ts';
import {Screen} from './screen.ts';
import {syncCommand} from './sync-command.ts';
import {unknownHelpTopic, usageError} from './usage.ts';
import {version} from './version.ts';

/**
 * @param argv what was typed after `towline`
 * @returns the exit code (DESIGN §3)
 */
export async function runCli(argv: readonly string[], parts: CliParts): Promise<number> {
  const screen = new Screen(parts);
  let exitCode = 0;
  const all = {...parts, screen};
  const program = makeProgram(
    {
      ...agentActions(all),
      doctor: async (flags) => (await import('./doctor-command.ts')).doctorCommand(flags, all),
      ...peerActions(all),
      sync: (places, flags) => syncCommand(places, flags, all),
      confirm: ({source, target}, flags) =>
        target === undefined ? confirmVolume(source, flags, all) : confirmCommand({source, target}, flags, all),
    },
    {
      version: version(),
      writeOut: (text) => screen.line(text.replace(/\n$/, '')),
      columns: parts.stdout.columns,
      setExitCode: (code) => (exitCode = code),
    },
  );
  try {
    const topicError = unknownHelpTopic(argv, program);
    if (topicError !== undefined) throw topicError;
    await program.parseAsync(argv, {from: 'user'});
  } catch (thrown) {
    if (isCommanderError(thrown)) {
      exitCode = thrown.exitCode === 0 ? 0 : fail(usageError(thrown, program, argv), argv, all);
    } else {
      exitCode = fail(thrown, argv, all);
    }
  }
  screen.flush();
  return exitCode;
}

/** Says what went wrong; returns the exit code. */
export function fail(thrown: unknown, argv: readonly string[], parts: CliParts & {screen: Screen}): number {
  const error = asTowlineError(thrown);
  const exitCode = exitCodeOfError(error);
  if (error.code === 'BUG' && isTyped(argv, /^(-[a-z]*v[a-z]*|--verbose)$/)) parts.screen.note(stackOf(error) ?? '');
  parts.screen.note(errorLine(error));
  if (isTyped(argv, /^--json$/)) {
    const json = new JsonView(parts);
    json.error(error);
    json.failed(exitCode);
  }
  parts.screen.flush();
  return exitCode;
}

// By shape: the class itself would be a second import of commander for one test.
function isCommanderError(thrown: unknown): thrown is CommanderError {
  return thrown instanceof Error && String((thrown as {code?: unknown}).code).startsWith('commander.');
}

function isTyped(argv: readonly string[], option: RegExp): boolean {
  const end = argv.indexOf('--');
  return argv.slice(0, end < 0 ? argv.length : end).some((word) => option.test(word));
}
