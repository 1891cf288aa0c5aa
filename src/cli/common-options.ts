/**
 * The options that every command has, and what they say about what is shown.
 */
import type {Command} from 'commander';
import {type LogPort, openLog, SILENT_LOG} from '../telemetry/log.ts';
import type {CliParts} from './parts.ts';
import type {Verbosity} from './view.ts';

/** As commander gives them. */
export interface CommonFlags {
  config?: string;
  state?: string;
  json?: boolean;
  verbose: number;
  quiet?: boolean;
}

/** Adds them to the program or to a command: they may stand before and after the command's name. */
export function addCommonOptions(command: Command): Command {
  return command
    .option('--config <FILE>', 'configuration of the agent (default: /etc/towline/towline.yaml)')
    .option(
      '--state <DIR>',
      "folder to keep state in (default: what the agent's configuration says; $XDG_STATE_HOME/towline for two folders)",
    )
    .option('--json', 'one JSON object a line on stdout, times in UTC')
    .option(
      '-v, --verbose',
      'show each change (-vv: log to stderr, -vvv: debug log)',
      (_, count: number) => count + 1,
      0,
    )
    .option('-q, --quiet', 'show nothing but errors');
}

/** The flags from both places; what stands after the command's name wins. */
export function commonFlags(program: CommonFlags, command: CommonFlags): CommonFlags {
  return {...program, ...command, verbose: program.verbose + command.verbose};
}

export function verbosityOf(flags: CommonFlags): Verbosity {
  if (flags.quiet === true) return -1;
  return Math.min(flags.verbose, 3) as Verbosity;
}

/** The log of a run in the foreground: on stderr, for whoever asks for it. */
export async function runLogOf(flags: CommonFlags): Promise<LogPort> {
  const verbosity = verbosityOf(flags);
  return verbosity < 2 ? SILENT_LOG : openLog({level: verbosity === 2 ? 'info' : 'debug', fd: 2});
}

/** Colours for terminals only. Source: no-color.org */
export function hasColour(parts: CliParts): boolean {
  return parts.stdout.isTerminal && !parts.env['NO_COLOR'] && parts.env['TERM'] !== 'dumb';
}
