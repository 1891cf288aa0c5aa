/**
 * Runs a program without walls: `node --import test/plain/register.ts src/main.ts sync …`; with TOWLINE_TEST_PLAIN=paths or
 * =jail only without that one.
 */
import {plainModules, type Wall} from './modules.ts';
import {replaceModules} from './replace-modules.ts';

const without = (process.env['TOWLINE_TEST_PLAIN'] ?? 'paths,jail').split(',') as Wall[];
replaceModules(plainModules(...without));
