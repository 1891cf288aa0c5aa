/**
 * What `npm run bench` runs: every measurement of this folder, or those that are named (`npm run bench -- transport`),
 * one after the other, each in a process of its own. Ends with 1 when one of them failed.
 */
import {spawnSync} from 'node:child_process';
import {readdirSync} from 'node:fs';
import {join} from 'node:path';

const folder = import.meta.dirname;
const known = readdirSync(folder)
  .filter((name) => /^[^.]+\.ts$/.test(name))
  .map((name) => name.slice(0, -'.ts'.length));
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !known.includes(name));

if (unknown.length > 0) {
  process.stderr.write(`no measurement is called ${unknown.join(', ')}; there are: ${known.join(', ')}\n`);
  process.exitCode = 2;
} else {
  for (const name of asked.length > 0 ? asked : known) {
    console.log(`== ${name}`);
    const {status} = spawnSync(process.execPath, [join(folder, `${name}.ts`)], {stdio: 'inherit'});
    if (status !== 0) process.exitCode = 1;
  }
}
