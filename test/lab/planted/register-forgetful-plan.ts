/** Runs the program with a planted bug: `node --import THIS src/main.ts agent …`. */
import {join} from 'node:path';
import {replaceModules} from '../../plain/replace-modules.ts';

const real = join(import.meta.dirname, '../../../src/reconcile/plan-path.ts');
replaceModules([[real, join(import.meta.dirname, 'forgetful-plan.ts')]]);
