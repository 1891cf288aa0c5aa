/**
 * Puts modules of the tests in the place of modules of `src`, in every thread of a program that is run from its sources:
 * `node --import FILE src/main.ts`, where FILE calls this. The program itself knows nothing of it and has no way to it.
 *
 * Invariant: a replacement, and whatever is in its folder, still imports the real module that it stands for.
 */
import {registerHooks} from 'node:module';
import {dirname} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';

/** @param replacements absolute paths: a real module, and what is to be loaded instead */
export function replaceModules(replacements: readonly (readonly [real: string, instead: string])[]): void {
  const insteadOf = new Map(replacements.map(([real, instead]) => [urlOf(real), instead]));
  registerHooks({
    resolve: (specifier, context, nextResolve) => {
      const found = nextResolve(specifier, context);
      const instead = insteadOf.get(found.url);
      if (instead === undefined || isBeside(instead, context.parentURL)) return found;
      return {...found, url: urlOf(instead)};
    },
  });
}

function urlOf(path: string): string {
  return pathToFileURL(path).href;
}

function isBeside(instead: string, importer: string | undefined): boolean {
  return importer?.startsWith('file:') === true && dirname(fileURLToPath(importer)) === dirname(instead);
}
