/** Which programs this machine has. */
import {accessSync, constants} from 'node:fs';
import {delimiter, join} from 'node:path';

/** Whether a program is found as a shell finds it. */
export function isInstalled(program: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
