/**
 * The commands of the agent, joined with what they need. Each is loaded when it is called: a `sync` of two folders
 * needs none of them.
 */
import type {CliParts} from './parts.ts';
import type {AgentActions} from './program-agent.ts';
import type {Screen} from './screen.ts';

export function agentActions(parts: CliParts & {screen: Screen}): AgentActions {
  return {
    agent: async (volumes, flags) => (await import('./agent-command.ts')).agentCommand(volumes, flags, parts),
    status: async (volume, flags) => (await import('./status-command.ts')).statusCommand(volume, flags, parts),
    pending: async (volume, flags) => (await import('./pending-command.ts')).pendingCommand(volume, flags, parts),
    flush: async (volume, flags) => (await import('./flush-command.ts')).flushCommand(volume, flags, parts),
    verify: async (volume, flags) => (await import('./verify-command.ts')).verifyCommand(volume, flags, parts),
    volume: async (verb, volume, flags) =>
      (await import('./volume-commands.ts')).volumeCommand(verb, volume, {flags, parts}),
    forget: async (volume, flags) => (await import('./volume-commands.ts')).forgetCommand(volume, flags, parts),
    promote: async (volume, flags) => (await import('./fail-over-commands.ts')).promoteCommand(volume, flags, parts),
    follow: async (typed, flags) => (await import('./fail-over-commands.ts')).followCommand(typed, flags, parts),
    log: async (typed, flags) => (await import('./log-command.ts')).logCommand(typed, flags, parts),
    trashList: async (typed, flags) => (await import('./trash-commands.ts')).trashListCommand(typed, flags, parts),
    trashRestore: async (typed, flags) =>
      (await import('./trash-commands.ts')).trashRestoreCommand(typed, flags, parts),
    trashEmpty: async (volume, flags) => (await import('./trash-commands.ts')).trashEmptyCommand(volume, flags, parts),
  };
}
