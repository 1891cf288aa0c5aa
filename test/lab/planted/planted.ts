/** How an agent or a run is started with something planted in it: from its sources, with a module in a module's place. */
import {join} from 'node:path';
import {pathToFileURL} from 'node:url';

export const MAIN = join(import.meta.dirname, '../../../src/main.ts');

/** @param name of a file beside this one that begins with `register-` */
export function plantedOptions(name: string): string {
  return `--import ${pathToFileURL(join(import.meta.dirname, `register-${name}.ts`)).href}`;
}

/** For an agent of a lab. */
export function plantedAgent(name: string): {wrapper: readonly string[]; main: string} {
  return {wrapper: ['env', `NODE_OPTIONS=${plantedOptions(name)}`], main: MAIN};
}
