/**
 * Measures what two and more agents do with live changes, in network namespaces of one machine:
 * `npm run bench -- live [--only NAME[,NAME]] [--quick]`; the names are those of bench/live/cases.ts.
 *
 * Each case has a process, hosts and fresh filesystems of its own, one after the other; the largest takes 36 GB of disk.
 * All take some twenty minutes; `--quick` shows in four that they work, not how fast they are. Ends with 1 when a case could not be measured; a
 * goal that is missed is told. Needs root, and rsync. Invariant: a case is in the table as figures or as failed.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import type {Row} from './live/case.ts';
import type {Answer} from './live/case-process.ts';
import {CASES} from './live/cases.ts';
import {machineLine} from './results/machine.ts';

const OUT = join(import.meta.dirname, 'out');
const CASE_MS_MAX = 1_800_000;

const {values: options} = parseArgs({options: {quick: {type: 'boolean', default: false}, only: {type: 'string'}}});
const names = options.only?.split(',') ?? [...CASES.keys()];
const unknown = names.filter((name) => !CASES.has(name));
if (unknown.length > 0)
  throw new Error(`no case is called ${unknown.join(', ')}; there are: ${[...CASES.keys()].join(', ')}`);

let onStop = (): void => {};
let isStopped = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    isStopped = true;
    onStop();
  });

const rows: Row[] = [];
const failures: {case: string; error: string}[] = [];
const seconds: Record<string, number> = {};
for (const name of names) {
  const startMs = performance.now();
  const answer = await measure(name);
  if (isStopped) process.exit(130);
  seconds[name] = Math.round((performance.now() - startMs) / 1_000);
  if ('rows' in answer) rows.push(...answer.rows);
  else failures.push({case: name, ...answer});
  if ('error' in answer) process.stderr.write(`${name} FAILED: ${answer.error}\n`);
}
report();

async function measure(name: string): Promise<Answer> {
  process.stderr.write(`-- ${name}\n`);
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'live/case-process.ts'), name, options.quick ? 'quick' : 'whole'],
    {stdio: ['ignore', 'inherit', 'inherit', 'ipc']},
  );
  const end = (): void => void child.kill('SIGTERM'); // it takes down what it has made
  onStop = end;
  const timer = setTimeout(end, CASE_MS_MAX);
  let answer: Answer | undefined;
  child.on('message', (message) => (answer = message as Answer));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  if (answer === undefined || (code !== 0 && 'rows' in answer))
    return {error: `its process ended with ${code ?? signal}`};
  return answer;
}

function report(): void {
  const verdictOf = ({goal, isMet}: Row): string =>
    goal === undefined ? '' : isMet === undefined ? 'not judged' : isMet ? 'met' : 'MISSED';
  const table = [
    ...rows.map((row) => ({
      case: row.case,
      what: row.what,
      value: row.value,
      unit: row.unit,
      goal: row.goal ?? '',
      verdict: verdictOf(row),
    })),
    ...failures.map(({case: name}) => ({case: name, what: '', value: NaN, unit: '', goal: '', verdict: 'FAILED'})),
  ];
  console.log(
    `two agents and more in network namespaces, fresh ext4 over loop devices${options.quick ? ', --quick: not how fast it is' : ''}`,
  );
  console.table(table);
  const missed = rows.filter(({isMet}) => isMet === false).length;
  console.log(`${missed} goals missed, ${failures.length} cases failed; seconds: ${JSON.stringify(seconds)}`);
  mkdirSync(OUT, {recursive: true});
  const whole = {
    time: new Date().toISOString(),
    machine: machineLine(),
    isQuick: options.quick,
    seconds,
    rows,
    failures,
  };
  writeFileSync(join(OUT, 'live.json'), JSON.stringify(whole, null, 2));
  if (failures.length > 0) process.exitCode = 1;
}
