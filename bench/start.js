/**
 * What `npm run bench` runs: every measurement of this folder, or those that are named (`npm run bench -- transport`),
 * one after the other, each in a process of its own. What follows the names goes to each of them
 * (`npm run bench -- sync --quick`). Ends with 1 when one of them failed.
 */
import {spawnSync} from 'node:child_process';
import {readdirSync} from 'node:fs';
import {join} from 'node:path';

const folder = import.meta.dirname;
const known = readdirSync(folder)
  .filter((name) => /^[^.]+\.ts$/.test(name))
  .map((name) => name.slice(0, -'.ts'.length));
const words = process.argv.slice(2);
const isArgument = (word) => /^(-|\d)/.test(word);
const firstArgument = words.findIndex(isArgument);
const asked = firstArgument < 0 ? words : words.slice(0, firstArgument);
const args = firstArgument < 0 ? [] : words.slice(firstArgument);
const unknown = asked.filter((name) => !known.includes(name));

if (unknown.length > 0) {
  process.stderr.write(`no measurement is called ${unknown.join(', ')}; there are: ${known.join(', ')}\n`);
  process.exitCode = 2;
} else {
  for (const name of asked.length > 0 ? asked : known) {
    console.log(`== ${name}`);
    const {status} = spawnSync(process.execPath, [join(folder, `${name}.ts`), ...args], {stdio: 'inherit'});
    if (status !== 0) process.exitCode = 1;
  }
}
