/**
 * Defines `towline doctor` for commander. What it does is in doctor-command.ts.
 */
import type {Command} from 'commander';
import {addCommonOptions, type CommonFlags} from './common-options.ts';
import type {Running} from './program-agent.ts';

export interface DoctorActions {
  doctor(flags: CommonFlags): Promise<number>;
}

const EXAMPLES = `
Examples:
  towline doctor                         look at this host and at what the configuration names
  towline doctor --config ./my.yaml -q   say only what is wrong
  towline doctor --json                  one finding a line

Exit codes: 0 nothing is bad, 1 something is.`;

export function defineDoctorCommand(program: Command, actions: DoctorActions, running: Running): void {
  const command = program
    .command('doctor')
    .summary('look for what does not work here, and say how to mend it')
    .description(
      'Looks at the kernel, the rights, the volumes, the engines, the network and the clock; says what is wrong and what to type.',
    )
    .helpOption('-h, --help', 'print help')
    .addHelpText('after', EXAMPLES);
  addCommonOptions(command);
  command.action(async () => {
    running.setExitCode(await actions.doctor(running.flagsOf(command.opts<CommonFlags>())));
  });
}
