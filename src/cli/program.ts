/**
 * The commands, their options and their help, for commander. What they do is in the files of their names.
 *
 * Invariant: parsing throws CommanderError and prints nothing but help and version; it never ends the process.
 */
import {Command, Option} from 'commander';
import type {IgnoreFlag} from '../config/sync-options.ts';
import {addCommonOptions, type CommonFlags, commonFlags} from './common-options.ts';
import type {ConfirmCommandFlags} from './confirm-command.ts';
import {type AgentActions, defineAgentCommands} from './program-agent.ts';
import {defineDoctorCommand, type DoctorActions} from './program-doctor.ts';
import {definePeerCommands, type PeerActions} from './program-peers.ts';
import type {SyncCommandFlags} from './sync-command.ts';

/** What commands do: places and flags in, exit code out. */
export interface CommandActions extends AgentActions, DoctorActions, PeerActions {
  sync(places: {source: string; target: string}, flags: SyncCommandFlags): Promise<number>;
  /** Two folders, or a volume of the running agent. */
  confirm(places: {source: string; target: string | undefined}, flags: ConfirmCommandFlags): Promise<number>;
}

const EXAMPLES = {
  program: `
Examples:
  towline sync /srv/data /mnt/copy           keep /mnt/copy equal to /srv/data, until Ctrl-C
  towline sync /srv/data /mnt/copy --once    make it equal once
  towline init                               set up the agent of this host; then towline invite, and join on the other
  towline agent                              the daemon of this host, for volumes that are configured
  towline status                             how its volumes, links and peers stand
  towline help sync                          all options of sync

Exit codes: 0 in sync or done, 1 some paths have problems, 2 usage, 3 halted by a guard, 5 peer lost, 6 in use by another
process, 7 integrity failure, 8 refused, 70 a bug, 130 interrupted.`,
  sync: `
Examples:
  towline sync /srv/data /mnt/copy                       live, until Ctrl-C
  towline sync /srv/data /mnt/copy --once --stats        once, with counters
  towline sync -n /srv/data /mnt/copy                    what would be done
  towline sync /srv/data /mnt/copy --ignore '*.tmp' --ignore '!keep.tmp' --ignore-from .gitignore
  towline sync /srv/data /mnt/copy --delete-limit 500,30%
  towline sync docker:pgdata db-2:pgdata --once          to a paired agent's volume, through the agent of this host`,
  confirm: `
Examples:
  towline confirm /srv/data /mnt/copy              says what waits, and asks
  towline confirm /srv/data /mnt/copy --yes 1234   the same without a terminal; the count is the one printed before
  towline confirm pgdata                           a volume of the agent`,
};

/** @param parts `columns` is the width of the terminal, `setExitCode` takes what an action returned */
export function makeProgram(
  actions: CommandActions,
  parts: {version: string; writeOut(text: string): void; columns: number; setExitCode(code: number): void},
): Command {
  const program = new Command('towline')
    .description('Keeps the data of containers equal on several hosts, in real time.')
    .usage('COMMAND [options]')
    .version(parts.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [COMMAND]', 'print help for a command')
    .enablePositionalOptions()
    .exitOverride()
    .configureHelp({helpWidth: Math.min(parts.columns, 120)})
    .configureOutput({writeOut: (text) => parts.writeOut(text), writeErr: () => {}, outputError: () => {}})
    .addHelpText('after', EXAMPLES.program);
  addCommonOptions(program);
  const flagsOf = <T extends CommonFlags>(command: T): T => ({
    ...command,
    ...commonFlags(program.opts<CommonFlags>(), command),
  });

  const sync = syncDefinition(program.command('sync'));
  sync.action(async (source: string, target: string) => {
    parts.setExitCode(await actions.sync({source, target}, flagsOf(sync.opts<SyncCommandFlags>())));
  });

  const confirm = confirmDefinition(program.command('confirm'));
  confirm.action(async (source: string, target: string | undefined) => {
    parts.setExitCode(await actions.confirm({source, target}, flagsOf(confirm.opts<ConfirmCommandFlags>())));
  });
  const running = {flagsOf, setExitCode: (code: number) => parts.setExitCode(code)};
  definePeerCommands(program, actions, running);
  defineAgentCommands(program, actions, running);
  defineDoctorCommand(program, actions, running);
  return program;
}

function syncDefinition(command: Command): Command {
  // Patterns and files in the order they were typed: the last match wins.
  const rules: IgnoreFlag[] = [];
  const add = (rule: IgnoreFlag): IgnoreFlag[] => {
    rules.push(rule);
    return rules;
  };
  const ids: string[] = [];
  const ignoreFrom = new Option('--ignore-from <FILE>', 'the same from a file, one pattern a line');
  ignoreFrom.argParser((path) => add({kind: 'file', path}));
  command
    .summary('make DST equal to SRC, and keep it so')
    .description('Makes the folder DST equal to the folder SRC, and keeps it so until Ctrl-C.')
    .argument('<SRC>', 'source: a folder, as PATH or path:PATH')
    .argument('<DST>', 'target: a folder, made when its parent exists; or PEER:VOLUME of a paired agent')
    .option('--once', 'end when DST is equal; exit code 0 says it is')
    .option('-n, --dry-run', 'say what would be done, change nothing')
    .option(
      '--delete-limit <LIMIT>',
      'halt instead of deleting more: 500, 30%, "500,30%" or none (default: "10000,50%")',
    )
    .option('--ignore <PATTERN>', 'gitignore pattern; repeat it, the last match wins', (pattern: string) =>
      add({kind: 'pattern', pattern}),
    )
    .addOption(ignoreFrom)
    .addOption(
      new Option('--special <HOW>', 'FIFOs, sockets and, with --devices, devices (default: keep)').choices([
        'keep',
        'skip',
      ]),
    )
    .option('--devices', 'carry block and character devices too')
    .option('--xattrs <CLASSES>', 'extended attributes to carry (default: "user,acl,capability,trusted")')
    .option('--ids <MAP>', 'map owners: 0-999:100000, or one as 33:1033; repeat it', (map: string) => {
      ids.push(map);
      return ids;
    })
    .option('--quick', 'at first contact, take files of equal size and time as equal, unread')
    .addOption(
      new Option(
        '--durability <WHEN>',
        'batch: what is done survives a power cut; none: faster (default: batch)',
      ).choices(['none', 'batch']),
    )
    .option('--settle <TIME>', 'quiet time before a changed file is read (default: 50ms)')
    .option('--max-wait <TIME>', 'a file that never settles is read then (default: 2s)')
    .addOption(
      new Option(
        '--hot <HOW>',
        'one that changes while it is read, where the filesystem makes no clones: wait until it rests, or read it torn (default: wait)',
      ).choices(['wait', 'torn']),
    )
    .option(
      '--in-place-above <SIZE>',
      'change files of this size or more where they are: no room for a second copy is needed, readers may see half a change',
    )
    .option('--rescan <TIME>', 'look at the whole tree so often, whatever was noticed (default: 1h)')
    .addOption(
      new Option('--watch <HOW>', 'how changes are noticed (default: auto)').choices(['auto', 'inotify', 'chokidar']),
    )
    .option('--stats', 'print counters at the end')
    .option('--progress', 'show progress on stderr (default: on a terminal)')
    .option('--no-progress', 'show none')
    .helpOption('-h, --help', 'print help')
    .addHelpText('after', EXAMPLES.sync);
  command.setOptionValue('progress', undefined); // --no-progress alone would make it true
  return addCommonOptions(command);
}

function confirmDefinition(command: Command): Command {
  command
    .summary('let a halted volume or pair go on')
    .usage('VOLUME [options]\n       towline confirm SRC DST [options]')
    .description('Says what a guard has halted, asks, and lets it go on.')
    .argument('<SRC>', 'a volume of the running agent; or, with DST, as given to sync')
    .argument('[DST]', 'as given to sync')
    .option('--yes <COUNT>', 'do not ask; COUNT is the one that was printed')
    .helpOption('-h, --help', 'print help')
    .addHelpText('after', EXAMPLES.confirm);
  return addCommonOptions(command);
}
