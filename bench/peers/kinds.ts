/** The tools of the comparison, and which of them this machine has. */
import {isInstalled} from './installed.ts';
import {lsyncd} from './lsyncd.ts';
import {rsync} from './rsync.ts';
import {syncthing} from './syncthing.ts';
import type {ToolKind} from './tool.ts';
import {towline} from './towline.ts';
import {unison} from './unison.ts';

export const KINDS = {towline, rsync, lsyncd, syncthing, unison} satisfies Record<string, ToolKind>;
export type ToolName = keyof typeof KINDS;

const NEEDED: readonly ToolName[] = ['towline', 'rsync'];
/** Programs that plant attributes and read them, and Debian's package of each. */
const ATTRIBUTE_PROGRAMS = {getfattr: 'attr', setfacl: 'acl'};

/**
 * Those of the named tools that are installed; of each other it says which package is missing.
 * @throws Error when one is missing without which there is no comparison
 */
export function installedTools(names: readonly ToolName[], say: (sentence: string) => void): ToolName[] {
  for (const [program, name] of Object.entries(ATTRIBUTE_PROGRAMS))
    if (!isInstalled(program)) throw new Error(`${program} is missing: apt-get install ${name}`);
  return names.filter((name) => {
    const kind = KINDS[name];
    if (isInstalled(kind.program)) return true;
    if (NEEDED.includes(name)) throw new Error(`${kind.program} is missing: apt-get install ${kind.package}`);
    say(`${name} has no column: it is not installed (apt-get install ${kind.package})`);
    return false;
  });
}
