/**
 * What `npm start` runs: without arguments the demonstration, with arguments `towline ARGS`.
 * Runs under the project's own Node.js 24, which npm puts first in PATH.
 */
import {existsSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

const isDemo = process.argv.length <= 2;
const program = fileURLToPath(new URL(isDemo ? './demo.ts' : '../bin/towline.js', import.meta.url));

if (existsSync(program)) {
  process.argv[1] = program;
  await import(program);
} else {
  process.stderr.write(`towline: ${program} is missing from this copy of the project\n`);
  process.exitCode = 2;
}
