/**
 * What `npm start` runs: without arguments the demonstration, with arguments `towline ARGS`.
 * Runs under the project's own Node.js 24, which npm puts first in PATH.
 *
 * Invariant: one Ctrl-C is one SIGINT for the program. The terminal sends it to the whole group, npm then sends it on to
 * its child, and a program may take the second for impatience.
 */
import {existsSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

const REPEAT_MS_MAX = 200; // npm's copy comes within some ms; nobody presses a key twice that fast

const isDemo = process.argv.length <= 2;
const program = fileURLToPath(new URL(isDemo ? './demo.ts' : '../bin/towline.js', import.meta.url));

/** Drops a signal that repeats the one just seen: Node.js hands signals to `process.emit`. */
function dropRepeatedSignals() {
  const lastMs = new Map([
    ['SIGINT', -Infinity],
    ['SIGTERM', -Infinity],
  ]);
  const emit = process.emit;
  process.emit = (event, ...args) => {
    const seenMs = lastMs.get(event);
    if (seenMs === undefined) return emit.call(process, event, ...args);
    const nowMs = performance.now();
    lastMs.set(event, nowMs);
    return nowMs - seenMs > REPEAT_MS_MAX && emit.call(process, event, ...args);
  };
}

if (existsSync(program)) {
  dropRepeatedSignals();
  process.argv[1] = program;
  await import(program);
} else {
  process.stderr.write(`towline: ${program} is missing from this copy of the project\n`);
  process.exitCode = 2;
}
