/**
 * The commands around peers and the configuration, joined with what they need; each is loaded when it is called.
 */
import type {CliParts} from './parts.ts';
import type {PeerActions} from './program-peers.ts';
import type {Screen} from './screen.ts';

export function peerActions(parts: CliParts & {screen: Screen}): PeerActions {
  return {
    init: async (flags) => (await import('./init-command.ts')).initCommand(flags, parts),
    id: async (flags) => (await import('./pair-commands.ts')).idCommand(flags, parts),
    invite: async (flags) => (await import('./pair-commands.ts')).inviteCommand(flags, parts),
    join: async (code, flags) => (await import('./pair-commands.ts')).joinCommand(code, flags, parts),
    peerList: async (flags) => (await import('./peer-commands.ts')).peerListCommand(flags, parts),
    peerRemove: async (name, flags) => (await import('./peer-commands.ts')).peerRemoveCommand(name, flags, parts),
    peerRotate: async (flags) => (await import('./peer-commands.ts')).peerRotateCommand(flags, parts),
    configCheck: async (flags) => (await import('./config-commands.ts')).configCheckCommand(flags, parts),
    configShow: async (flags) => (await import('./config-commands.ts')).configShowCommand(flags, parts),
    configSchema: async (flags) => (await import('./config-commands.ts')).configSchemaCommand(flags, parts),
  };
}
