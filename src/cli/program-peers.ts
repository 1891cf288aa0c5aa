/**
 * The commands around identity, pairing, peers and the configuration, their options and their help, for commander.
 */
import {type Command, Option} from 'commander';
import {addCommonOptions, type CommonFlags} from './common-options.ts';
import type {InitFlags} from './init-command.ts';
import type {InviteFlags, JoinFlags} from './pair-commands.ts';
import type {RotateFlags} from './peer-commands.ts';
import type {Running} from './program-agent.ts';

/** What the commands do: words and flags in, exit code out. */
export interface PeerActions {
  init(flags: InitFlags): Promise<number>;
  id(flags: CommonFlags): Promise<number>;
  invite(flags: InviteFlags): Promise<number>;
  join(code: string, flags: JoinFlags): Promise<number>;
  peerList(flags: CommonFlags): Promise<number>;
  peerRemove(name: string, flags: CommonFlags): Promise<number>;
  peerRotate(flags: RotateFlags): Promise<number>;
  configCheck(flags: CommonFlags): Promise<number>;
  configShow(flags: CommonFlags): Promise<number>;
  configSchema(flags: CommonFlags): Promise<number>;
}

const EXAMPLES = {
  init: `
Examples:
  towline init                                   writes /etc/towline/towline.yaml and makes the identity
  towline init --name web-1 --listen 10.0.0.1:7420
  towline init --listen none                     an agent that only dials`,
  id: `
Examples:
  towline id                                     64 hex digits; a peer's configuration names them`,
  invite: `
Examples:
  towline invite                                 prints the code; on the other host: towline join CODE
  towline invite --address vpn.example.net:7420  where the other host reaches this one`,
  join: `
Examples:
  towline join towline1-…                        the code that towline invite printed on the other host
  towline join towline1-… --as backup            what to call that agent here`,
  peer: `
Examples:
  towline peer list                              who is paired, and who is connected
  towline peer remove db-2                       cut at once
  towline peer rotate                            a new key for this agent; its peers are told`,
  config: `
Examples:
  towline config check                           every fault with file, line and key
  towline config show                            with all defaults filled in
  towline config schema > towline.schema.json    for editors`,
};

/** Adds them to the program. */
export function definePeerCommands(program: Command, actions: PeerActions, running: Running): void {
  defineInit(program, actions, running);
  definePairing(program, actions, running);
  definePeers(program, actions, running);
  defineConfig(program, actions, running);
}

function define(
  parent: Command,
  name: string,
  texts: {summary: string; description: string; examples: string},
): Command {
  const command = parent
    .command(name)
    .summary(texts.summary)
    .description(texts.description)
    .helpOption('-h, --help', 'print help')
    .addHelpText('after', texts.examples);
  return addCommonOptions(command);
}

/** A command that has none but subcommands. */
function defineGroup(program: Command, name: 'peer' | 'config', summary: string, description: string): Command {
  return program
    .command(name)
    .summary(summary)
    .description(description)
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES[name]);
}

function defineInit(program: Command, actions: PeerActions, {flagsOf, setExitCode}: Running): void {
  const init = define(program, 'init', {
    summary: 'set up the agent of this host',
    description: 'Writes a commented configuration and makes the identity of this agent. Overwrites nothing.',
    examples: EXAMPLES.init,
  })
    .option('--name <NAME>', 'what people call this agent (default: name of the host)')
    .option('--listen <HOST:PORT>', 'where peers dial, or none (default: [::]:7420, all addresses)');
  init.action(async () => setExitCode(await actions.init(flagsOf(init.opts<InitFlags>()))));

  const id = define(program, 'id', {
    summary: 'print the ID of this agent',
    description: 'Prints the ID of this agent: SHA-256 of its public key. Makes the key when there is none.',
    examples: EXAMPLES.id,
  });
  id.action(async () => setExitCode(await actions.id(flagsOf(id.opts<CommonFlags>()))));
}

function definePairing(program: Command, actions: PeerActions, {flagsOf, setExitCode}: Running): void {
  const invite = define(program, 'invite', {
    summary: 'let another agent join, with a one-time code',
    description:
      'Prints a code for one agent, good for 10 minutes and 5 tries. Where no agent runs it waits until it was used.',
    examples: EXAMPLES.invite,
  });
  const addresses = new Option(
    '--address <HOST:PORT>',
    'where this host is reached; repeat it (default: its addresses)',
  );
  const given: string[] = [];
  const add = (address: string): string[] => {
    given.push(address);
    return given;
  };
  invite.addOption(addresses.argParser(add));
  invite.action(async () => setExitCode(await actions.invite(flagsOf(invite.opts<InviteFlags>()))));

  const join = define(program, 'join', {
    summary: 'pair with the agent that made a code',
    description: 'Pairs with the agent that made the code: each writes the other down in peers.d.',
    examples: EXAMPLES.join,
  })
    .argument('<CODE>', 'what towline invite printed')
    .option('--as <NAME>', 'what to call that agent here (default: its own name)');
  join.action(async (code: string) => setExitCode(await actions.join(code, flagsOf(join.opts<JoinFlags>()))));
}

function definePeers(program: Command, actions: PeerActions, {flagsOf, setExitCode}: Running): void {
  const peer = defineGroup(
    program,
    'peer',
    'paired agents',
    'Lists and removes paired agents, or changes the own key.',
  );
  const sub = (name: string, summary: string, description: string): Command =>
    define(peer, name, {summary, description, examples: EXAMPLES.peer});

  const list = sub('list', 'who is paired', 'Lists the peers, and with a running agent how they are connected.');
  list.action(async () => setExitCode(await actions.peerList(flagsOf(list.opts<CommonFlags>()))));

  const remove = sub('remove', 'end it with a peer', 'Removes a paired peer; a running agent cuts it at once.');
  remove.argument('<NAME>', 'as peer list shows it');
  remove.action(async (name: string) =>
    setExitCode(await actions.peerRemove(name, flagsOf(remove.opts<CommonFlags>()))),
  );

  const rotate = sub('rotate', 'a new key for this agent', 'Makes a new key for this agent and tells its peers.');
  rotate.option('--force', 'also when peers cannot be told: those must be paired again');
  rotate.action(async () => setExitCode(await actions.peerRotate(flagsOf(rotate.opts<RotateFlags>()))));
}

function defineConfig(program: Command, actions: PeerActions, {flagsOf, setExitCode}: Running): void {
  const config = defineGroup(program, 'config', 'the configuration', "Checks and shows the agent's configuration.");
  const subs: [name: string, summary: string, description: string, act: (flags: CommonFlags) => Promise<number>][] = [
    ['check', 'is it right?', 'Names every fault of the configuration.', (flags) => actions.configCheck(flags)],
    [
      'show',
      'with defaults',
      'Shows the configuration with all defaults filled in.',
      (flags) => actions.configShow(flags),
    ],
    ['schema', 'for editors', 'Prints the JSON Schema of the configuration.', (flags) => actions.configSchema(flags)],
  ];
  for (const [name, summary, description, act] of subs) {
    const command = define(config, name, {summary, description, examples: EXAMPLES.config});
    command.action(async () => setExitCode(await act(flagsOf(command.opts<CommonFlags>()))));
  }
}
