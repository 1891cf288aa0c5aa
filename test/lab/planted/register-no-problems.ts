/** Runs the program with a planted bug: `node --import THIS src/main.ts sync …`. */
import {join} from 'node:path';
import {replaceModules} from '../../plain/replace-modules.ts';

const real = join(import.meta.dirname, '../../../src/apply/failure.ts');
replaceModules([[real, join(import.meta.dirname, 'no-problems.ts')]]);
