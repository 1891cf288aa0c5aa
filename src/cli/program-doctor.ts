/**
 * Defines `towline doctor` for commander. What it does is in doctor-command.ts.
 */
import type {Command} from 'commander';
import {addCommonOptions, commonFlags, type CommonFlags} from './common-options.ts';
import type {DoctorCommandFlags} from './doctor-command.ts';

export interface DoctorActions {
  doctor(flags: DoctorCommandFlags): Promise<number>;
}

const EXAMPLES = `
Examples:
  towline doctor                         look at this host and at /etc/towline/towline.yaml
  towline doctor --config ./my.yaml -q   say only what is wrong
  towline doctor --json                  one finding a line

Exit codes: 0 nothing is bad, 1 something is.`;

/** @param parts as for the other commands */
export function defineDoctorCommand(
  program: Command,
  actions: DoctorActions,
  parts: {setExitCode(code: number): void},
): void {
  const command = program
    .command('doctor')
    .summary('look for what does not work here, and say how to mend it')
    .description(
      'Looks at the kernel, the rights, the volumes, the engines, the network and the clock; says what is wrong and what to type.',
    )
    .option('--config <FILE>', 'configuration (default: /etc/towline/towline.yaml)')
    .helpOption('-h, --help', 'print help')
    .addHelpText('after', EXAMPLES);
  addCommonOptions(command);
  command.action(async () => {
    const own = command.opts<DoctorCommandFlags>();
    parts.setExitCode(await actions.doctor({...own, ...commonFlags(program.opts<CommonFlags>(), own)}));
  });
}
