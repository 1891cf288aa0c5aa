/**
 * Runs one case of `npm run bench -- live` and tells its parent the rows.
 *
 * A process for each: whatever a case has made (agents, hosts, filesystems, folders) goes with it, also when it fails.
 */
import {mkdtempSync, realpathSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {removeTree} from '../../test/run-folders.ts';
import type {Row} from './case.ts';
import {CASES} from './cases.ts';

const [name = '', how] = process.argv.slice(2);
const base = mkdtempSync(join(realpathSync(tmpdir()), 'towline-bench-'));
process.on('exit', () => removeTree(base)); // added after those of the hosts: no agent runs any more

export type Answer = {rows: Row[]} | {error: string};

const answer = (said: Answer): void => void process.send!(said, () => process.exit('error' in said ? 1 : 0));
const say = (what: string): void => void process.stderr.write(`${name}: ${what}\n`);

const fail = (error: unknown): void =>
  answer({error: error instanceof Error ? (error.stack ?? error.message) : String(error)});

process.on('uncaughtException', fail); // of what was started and is not yet waited for
try {
  answer({rows: await CASES.get(name)!({isQuick: how === 'quick', base, say})});
} catch (error) {
  fail(error);
}
