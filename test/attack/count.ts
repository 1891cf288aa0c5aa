/**
 * Has a program count what it does in volumes: `TOWLINE_TEST_COUNTS=FOLDER node --import test/attack/count.ts src/main.ts`.
 */
import {join} from 'node:path';
import {replaceModules} from '../plain/replace-modules.ts';

const real = join(import.meta.dirname, '../../src/linux/libc.ts');
replaceModules([[real, join(import.meta.dirname, 'counted-libc.ts')]]);
