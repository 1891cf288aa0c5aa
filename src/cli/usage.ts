/**
 * What commander found wrong, as one clear sentence with a suggestion.
 */
import type {Command, CommanderError} from 'commander';
import {TowlineError} from '../base/errors.ts';
import {twoWayError} from '../config/address.ts';

const TWO_WAY_OPTION = /'--(both|two-way|conflicts?)(=.*)?'/;

/** @param argv what was typed after `towline` */
export function usageError(error: CommanderError, program: Command, argv: readonly string[]): TowlineError<'USAGE'> {
  const command = argv.map((word) => program.commands.find((known) => known.name() === word)).find(Boolean);
  const help = `towline ${command === undefined ? '' : `${command.name()} `}--help`;
  if (error.code === 'commander.unknownOption' && TWO_WAY_OPTION.test(error.message)) return twoWayError();
  if (error.code === 'commander.help') return usage('no command given', help);
  const [sentence = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const suggestion = /\(Did you mean (.+)\?\)/.exec(rest.join(' '))?.[1];
  const plain = sentence.replace(/\.$/, '').replace(/\. (\w)/g, (_, first: string) => `; ${first.toLowerCase()}`);
  return usage(suggestion === undefined ? plain : `${plain}; did you mean ${suggestion}?`, help);
}

function usage(sentence: string, help: string): TowlineError<'USAGE'> {
  const separator = sentence.endsWith('?') ? ' (' : ' (see ';
  return new TowlineError('USAGE', `${sentence}${separator}${help})`, {hint: help});
}

/** The error of `towline help NAME` for a name that is no command. */
export function unknownHelpTopic(argv: readonly string[], program: Command): TowlineError<'USAGE'> | undefined {
  const [first, topic] = argv;
  if (first !== 'help' || topic === undefined) return undefined;
  if (topic === 'help' || program.commands.some((command) => command.name() === topic)) return undefined;
  return usage(`unknown command '${topic}'`, 'towline --help');
}
