/**
 * Where the control socket of an agent is, and a name for it that the kernel takes: socket names are short, folders
 * need not be. Not the socket itself.
 */
import {closeSync, constants, openSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';

const SOCKET_NAME = 'control.sock';
const SOCKET_NAME_BYTES_MAX = 107; // sun_path without its end. Source: unix(7)

/** The socket of the agent that keeps its state in `stateFolder`. */
export function controlSocketOf(stateFolder: string): string {
  return join(stateFolder, SOCKET_NAME);
}

/**
 * A name of at most 107 bytes for a socket; a long one goes through its folder, which is held until `release`.
 * @throws the error of open(2) when the folder of a long name cannot be opened
 */
export function shortSocketPath(socketPath: string): {path: string; release(): void} {
  if (Buffer.byteLength(socketPath) <= SOCKET_NAME_BYTES_MAX) return {path: socketPath, release: () => {}};
  const fd = openSync(dirname(socketPath), constants.O_RDONLY | constants.O_DIRECTORY);
  let isHeld = true;
  const release = (): void => {
    if (isHeld) closeSync(fd);
    isHeld = false;
  };
  return {path: `/proc/self/fd/${fd}/${basename(socketPath)}`, release};
}
