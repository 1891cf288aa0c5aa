/**
 * Measures Towline's two agents beside the tools that people use today, all between two network namespaces:
 * `npm run bench -- peers [--runs N] [--quick] [--only small|large|change|hasty|rename|restart] [--tools a,b]`.
 *
 * rsync over ssh, run by hand; lsyncd; Syncthing; Unison; as Debian has them, with all that their manuals have for a
 * faithful mirror and the least wait that they take. A tool that is not installed is said and left out. Each has its turn
 * with a fresh ext4 for its copies, warm caches, the disk flushed before every case; who begins changes with the run.
 * Needs root and Debian's openssh-server, attr and acl. A copy is timed until the tool says that it is complete.
 * Invariant: what was measured was right: after each first copy rsync compares every byte of it.
 */
import {mkdirSync, mkdtempSync, realpathSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {removeTree} from '../test/run-folders.ts';
import {makeSsh} from './agents/ssh.ts';
import {makeFilesystem} from './sync/filesystems.ts';
import {plantAttributes} from './peers/attributes.ts';
import {installedTools, KINDS, type ToolName} from './peers/kinds.ts';
import {Results} from './peers/results.ts';
import {fillLarge, SmallTree} from './peers/tree.ts';
import {type Case, takeTurn} from './peers/turn.ts';
import {machineLine} from './results/machine.ts';

const OUT = join(import.meta.dirname, 'out');
const CASES: readonly Case[] = ['small', 'large', 'change', 'hasty', 'rename', 'restart'];
const CHANGES = 20; // of a tool, in all runs together
const FILESYSTEM_MIB = 2_048;

const {values: options} = parseArgs({
  options: {
    runs: {type: 'string', default: '3'},
    quick: {type: 'boolean', default: false},
    only: {type: 'string'},
    tools: {type: 'string', default: Object.keys(KINDS).join(',')},
  },
});
const runs = options.quick ? 1 : Number(options.runs);
const cases = new Set(CASES.filter((what) => (options.only ?? what) === what));
const asked = options.tools.split(',');
if (!(runs >= 1) || cases.size === 0 || !asked.every((name) => name in KINDS))
  throw new Error('see the first lines of bench/peers.ts');
const largeBytes = (options.quick ? 32 : 256) << 20;
const fileCount = options.quick ? 2_000 : 20_000;
const changes = options.quick ? 3 : Math.ceil(CHANGES / runs);
const caseMsMax = options.quick ? 60_000 : 300_000;

const say = (sentence: string): boolean => process.stderr.write(`${sentence}\n`);
const tools = installedTools(asked as ToolName[], (sentence) => console.log(sentence));
const base = mkdtempSync(join(realpathSync(tmpdir()), 'towline-bench-'));
process.prependListener('exit', () => removeTree(base));
const ssh = makeSsh(join(base, 'ssh'));
const results = new Results(tools, say);
for (let run = 0; run < runs; run++) await measure(run);
report();

async function measure(run: number): Promise<void> {
  const filesystem = makeFilesystem({sizeMiB: FILESYSTEM_MIB});
  const source = filesystem.path;
  const small = join(source, 'small');
  const tree = new SmallTree(small, fileCount);
  plantAttributes(small);
  fillLarge(join(source, 'large'), largeBytes);
  const plan = {cases, source, tree, changes, caseMsMax};
  const first = run % tools.length;
  for (const name of [...tools.slice(first), ...tools.slice(0, first)]) {
    const found = results.of(name);
    await takeTurn(name, plan, {base, ssh, record: (text) => results.record(name, text), found});
  }
  filesystem.remove();
}

function report(): void {
  const rows = results.rows({cases, files: fileCount, largeMiB: largeBytes >> 20});
  console.log(`Towline beside ${tools.slice(1).join(', ')}, in two network namespaces; median of ${runs}; times in ms`);
  console.table(rows);
  const notes = results.notes();
  for (const note of notes) console.log(note);
  const versions = Object.fromEntries(tools.map((name) => [name, KINDS[name].version()]));
  mkdirSync(OUT, {recursive: true});
  const all = {
    time: new Date().toISOString(),
    machine: machineLine(),
    runs,
    versions,
    commands: results.commands(),
    rows,
    notes,
  };
  writeFileSync(join(OUT, 'peers.json'), JSON.stringify({...all, raw: results.raw()}, null, 2));
  if (results.hasFailed('towline') || results.hasFailed('rsync')) process.exitCode = 1;
}
