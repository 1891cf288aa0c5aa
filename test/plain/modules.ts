/**
 * Which modules of src/linux are the walls, and what stands in their place without them.
 */
import {join} from 'node:path';

/** `paths`: the first wall, calls relative to held directories; `jail`: the second. */
export type Wall = 'paths' | 'jail';

const MODULES: Record<Wall, readonly string[]> = {
  paths: ['beneath.ts', 'open-fd.ts', 'files.ts'],
  jail: ['jail.ts'],
};

/** @returns absolute paths: the real module, and the plain one */
export function plainModules(...without: Wall[]): [real: string, plain: string][] {
  const linux = join(import.meta.dirname, '../../src/linux');
  return without.flatMap((wall) =>
    MODULES[wall].map((name): [string, string] => [join(linux, name), join(import.meta.dirname, name)]),
  );
}
