/**
 * The commands of the agent, their options and their help, for commander. What they do is in the files of their names.
 */
import type {Command} from 'commander';
import {type AgentFlags, ONCE_TIMEOUT} from './agent-command.ts';
import {addCommonOptions, type CommonFlags} from './common-options.ts';
import type {FollowFlags, PromoteFlags} from './fail-over-commands.ts';
import {FLUSH_TIMEOUT, type FlushFlags} from './flush-command.ts';
import type {LogFlags} from './log-command.ts';
import type {PendingFlags} from './pending-command.ts';
import type {StatusFlags} from './status-command.ts';
import type {TrashEmptyFlags, TrashRestoreFlags} from './trash-commands.ts';
import type {VerifyFlags} from './verify-command.ts';
import type {ForgetFlags, SimpleVerb} from './volume-commands.ts';

/** What the commands do: words and flags in, exit code out. */
export interface AgentActions {
  agent(volumes: string[], flags: AgentFlags): Promise<number>;
  status(volume: string | undefined, flags: StatusFlags): Promise<number>;
  pending(volume: string, flags: PendingFlags): Promise<number>;
  flush(volume: string | undefined, flags: FlushFlags): Promise<number>;
  verify(volume: string, flags: VerifyFlags): Promise<number>;
  volume(verb: SimpleVerb, volume: string, flags: CommonFlags): Promise<number>;
  forget(volume: string, flags: ForgetFlags): Promise<number>;
  promote(volume: string, flags: PromoteFlags): Promise<number>;
  follow(typed: {volume: string; peer: string}, flags: FollowFlags): Promise<number>;
  log(typed: {volume: string | undefined; path: string | undefined}, flags: LogFlags): Promise<number>;
  trashList(typed: {volume: string; path: string | undefined}, flags: CommonFlags): Promise<number>;
  trashRestore(typed: {volume: string; places: string[]}, flags: TrashRestoreFlags): Promise<number>;
  trashEmpty(volume: string, flags: TrashEmptyFlags): Promise<number>;
}

/** Joins a command's own flags with those before its name, and takes its exit code. */
export interface Running {
  flagsOf: <T extends CommonFlags>(flags: T) => T;
  setExitCode: (code: number) => void;
}

const VOLUME = 'name of a configured volume, or its address';
const EXAMPLES = {
  agent: `
Examples:
  towline agent                             in the foreground, as systemd starts it; SIGHUP reads the configuration again
  towline agent --once                      one catch-up of all volumes, for cron; the exit code tells
  towline agent --once pgdata --timeout 1h
  towline agent --recover                   before containers start; what towline-recover.service does

Exit codes of --recover: 0 nothing is left half done, 1 some paths have changed meanwhile or cannot be written, 3 a root is
missing or is another's (its journal stays for when it is back), 6 an agent runs.`,
  status: `
Examples:
  towline status                            the agent, its peers and all links
  towline status pgdata --watch             one volume, until Ctrl-C
  towline status --json                     the same for programs

Exit codes: 0 all in sync, 1 something is not, 3 halted, 5 a peer or the agent cannot be reached.`,
  pending: `
Examples:
  towline pending pgdata                    the first 100 paths, problems first
  towline pending pgdata --all --json

Exit codes: 0 nothing is pending, 1 something is.`,
  flush: `
Examples:
  towline flush pgdata                      returns when the peers have what was written before
  towline flush --timeout 10m --rescan      all volumes; also what was written through mmap
  towline flush pgdata --quiesce            runs its hooks around it: the peers have it as of one moment`,
  verify: `
Examples:
  towline verify pgdata                     reads every file again, and tells what rots on disk
  towline verify pgdata --against db-2      has db-2 read its copy too
  towline verify pgdata --repair            on a copy: fetches what rots from the source again

Exit codes: 0 all as it was read before, 7 something rots, 1 something cannot be read, 5 no agent runs.`,
  pause: `
Examples:
  towline pause pgdata                      nothing is sent or applied until resume; what happens meanwhile is caught up`,
  resume: `
Examples:
  towline resume pgdata`,
  rescan: `
Examples:
  towline rescan pgdata                     reads the whole tree again, whatever was noticed`,
  forget: `
Examples:
  towline pause pgdata && towline forget pgdata`,
  promote: `
Examples:
  towline promote pgdata                    the source is lost: this copy becomes the source; says what is missing, and asks
  towline promote pgdata --yes              the same in a script

What is written here afterwards is sent to nobody until the old source, or a new host, follows:
  towline follow pgdata THIS-AGENT          there; both are equal then, and what it had not sent is in its trash`,
  follow: `
Examples:
  towline follow pgdata db-2 --dry-run      what is here and not on db-2, which was promoted
  towline follow pgdata db-2                the same, asks, and makes this copy one of db-2's
  towline follow pgdata db-2 --yes 12       goes on when 12 entries go to the trash, as the dry run said
  towline follow pgdata db-2:pgdata-copy    where the volume has another name there`,
  log: `
Examples:
  towline log                               every delete and overwrite, oldest first
  towline log pgdata db/old --since 2h      of one path and what is below it
  towline log --since '2026-11-20 14:00'`,
  trash: `
Examples:
  towline trash list pgdata                 what can be taken back
  towline trash restore pgdata 2026-11-20T13/3f2a91bc-d0 --to /tmp/back
  towline trash empty pgdata --before 2d`,
};

/** Adds them to the program. */
export function defineAgentCommands(program: Command, actions: AgentActions, running: Running): void {
  defineAgent(program, actions, running);
  defineLooking(program, actions, running);
  defineVerify(program, actions, running);
  defineChanging(program, actions, running);
  defineFailOver(program, actions, running);
  defineTrash(program, actions, running);
}

function define(program: Command, name: keyof typeof EXAMPLES, summary: string, description: string): Command {
  const command = program
    .command(name)
    .summary(summary)
    .description(description)
    .helpOption('-h, --help', 'print help')
    .addHelpText('after', EXAMPLES[name]);
  return addCommonOptions(command);
}

function defineAgent(program: Command, actions: AgentActions, {flagsOf, setExitCode}: Running): void {
  const description = 'Runs the agent of this host in the foreground, or catches up once.';
  const agent = define(program, 'agent', 'run the agent of this host', description)
    .argument('[VOLUME...]', 'with --once: only these')
    .option(
      '--once',
      'one catch-up to what is there now, through the agent where one runs; exit code 0 says it is done',
    )
    .option('--timeout <TIME>', `with --once: so long at most (default: ${ONCE_TIMEOUT})`)
    .option('--recover', 'complete what a crash left half done in what is received, without any peer, and end');
  agent.action(async (volumes: string[]) =>
    setExitCode(await actions.agent(volumes, flagsOf(agent.opts<AgentFlags>()))),
  );
}

function defineLooking(program: Command, actions: AgentActions, {flagsOf, setExitCode}: Running): void {
  const status = define(
    program,
    'status',
    'how volumes, links and peers stand',
    'Shows how volumes, links and peers stand.',
  )
    .argument('[VOLUME]', VOLUME)
    .option('--watch', 'show it again whenever it changes, until Ctrl-C');
  status.action(async (volume: string | undefined) =>
    setExitCode(await actions.status(volume, flagsOf(status.opts<StatusFlags>()))),
  );

  const pending = define(program, 'pending', 'what is not in sync, and why', 'Lists what is not in sync, and why.')
    .argument('<VOLUME>', VOLUME)
    .option('--all', 'not only the first 100');
  pending.action(async (volume: string) =>
    setExitCode(await actions.pending(volume, flagsOf(pending.opts<PendingFlags>()))),
  );

  const log = define(
    program,
    'log',
    'what was deleted and overwritten',
    'Lists deletes and overwrites: when, by which peer, where it is now.',
  )
    .argument('[VOLUME]', 'name of a volume')
    .argument('[PATH]', "relative to the volume's root")
    .option('--since <TIME>', 'an age like 2h, or a time');
  log.action(async (volume: string | undefined, path: string | undefined) =>
    setExitCode(await actions.log({volume, path}, flagsOf(log.opts<LogFlags>()))),
  );
}

function defineVerify(program: Command, actions: AgentActions, {flagsOf, setExitCode}: Running): void {
  const verify = define(
    program,
    'verify',
    'read every file again',
    'Reads every file of a volume again, from disk, and tells which hold other bytes although nothing changed them.',
  )
    .argument('<VOLUME>', VOLUME)
    .option('--against <PEER>', 'have this peer read its copy too')
    .option('--repair', 'fetch what rots on this copy from the source again');
  verify.action(async (volume: string) =>
    setExitCode(await actions.verify(volume, flagsOf(verify.opts<VerifyFlags>()))),
  );
}

function defineChanging(program: Command, actions: AgentActions, {flagsOf, setExitCode}: Running): void {
  const flush = define(
    program,
    'flush',
    'wait until the peers have it',
    'Returns when what was written before the call is durable on the peers.',
  )
    .argument('[VOLUME]', VOLUME)
    .option('--timeout <TIME>', `give up after this time (default: ${FLUSH_TIMEOUT})`)
    .option('--rescan', 'read the whole tree first: finds what was written through mmap too')
    .option(
      '--quiesce',
      "of one volume, while its hooks hold its application still: the peers' copies are of one moment",
    );
  flush.action(async (volume: string | undefined) =>
    setExitCode(await actions.flush(volume, flagsOf(flush.opts<FlushFlags>()))),
  );

  const verbs: [verb: SimpleVerb, summary: string, description: string][] = [
    ['pause', 'hold a volume', 'Sends and applies nothing of a volume until it is resumed.'],
    ['resume', 'let a paused volume go on', 'Lets a paused volume go on.'],
    ['rescan', 'read a whole volume again', 'Reads the whole tree of a volume again, whatever was noticed.'],
  ];
  for (const [verb, summary, description] of verbs) {
    const command = define(program, verb, summary, description).argument('<VOLUME>', VOLUME);
    command.action(async (volume: string) =>
      setExitCode(await actions.volume(verb, volume, flagsOf(command.opts<CommonFlags>()))),
    );
  }

  const forget = define(
    program,
    'forget',
    "remove Towline's traces of a volume",
    'Removes the mark, the state, what is staged and the trash of a volume; its files stay.',
  )
    .argument('<VOLUME>', VOLUME)
    .option('--yes', 'do not ask');
  forget.action(async (volume: string) =>
    setExitCode(await actions.forget(volume, flagsOf(forget.opts<ForgetFlags>()))),
  );
}

function defineFailOver(program: Command, actions: AgentActions, {flagsOf, setExitCode}: Running): void {
  const promote = define(
    program,
    'promote',
    'make a copy the source',
    'Makes a received volume the source, when its source is lost or was paused.',
  )
    .argument('<VOLUME>', VOLUME)
    .option('--yes', 'do not ask')
    .option('--force', 'also while the source is connected: what has not arrived is lost');
  promote.action(async (volume: string) =>
    setExitCode(await actions.promote(volume, flagsOf(promote.opts<PromoteFlags>()))),
  );

  const follow = define(
    program,
    'follow',
    "make a volume a copy of a promoted peer's",
    "Makes a volume a copy of a promoted peer's; what is only here goes to the trash.",
  )
    .argument('<VOLUME>', VOLUME)
    .argument('<PEER>', 'name of the peer that was promoted, or PEER:VOLUME')
    .option('-n, --dry-run', 'say what would go, and change nothing')
    .option('--yes [COUNT]', 'do not ask; with a count, only when so many entries go');
  follow.action(async (volume: string, peer: string) =>
    setExitCode(await actions.follow({volume, peer}, flagsOf(follow.opts<FollowFlags>()))),
  );
}

function defineTrash(program: Command, actions: AgentActions, {flagsOf, setExitCode}: Running): void {
  const trash = program
    .command('trash')
    .summary('what was deleted and overwritten, and its way back')
    .description('Lists, takes back or removes what a mirror deleted and overwrote.')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES.trash);

  const sub = (name: string, description: string): Command =>
    addCommonOptions(trash.command(name).description(description).helpOption('-h, --help', 'print help'))
      .argument('<VOLUME>', 'name of a volume')
      .addHelpText('after', EXAMPLES.trash);

  const list = sub('list', 'list what can be taken back, oldest first').argument(
    '[PATH]',
    'only this and what is below it',
  );
  list.action(async (volume: string, path: string | undefined) =>
    setExitCode(await actions.trashList({volume, path}, flagsOf(list.opts<CommonFlags>()))),
  );

  const restore = sub('restore', 'take items back')
    .argument('<PLACE...>', 'as listed')
    .option('--to <DIR>', 'into this folder, which must be there; in the copy it would be removed again');
  restore.action(async (volume: string, places: string[]) =>
    setExitCode(await actions.trashRestore({volume, places}, flagsOf(restore.opts<TrashRestoreFlags>()))),
  );

  const empty = sub('empty', 'remove what is in it, for good')
    .option('--before <TIME>', 'only what was put there before: an age like 2d, or a time')
    .option('--yes', 'do not ask');
  empty.action(async (volume: string) =>
    setExitCode(await actions.trashEmpty(volume, flagsOf(empty.opts<TrashEmptyFlags>()))),
  );
}
