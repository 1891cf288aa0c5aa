/**
 * The demonstration behind `npm start`: two folders of its own, kept equal live by the real program, and what to try.
 *
 * Everything that happens to the folders is done by `towline` as a user would start it; its lines are shown as they are.
 * Invariant: Ctrl-C reaches the program once, the demonstration ends with 0, and its folders are gone.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {mkdtempSync, realpathSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {fillSource} from './source-tree.ts';

const LAUNCHER = join(import.meta.dirname, '../bin/towline.js');
const EXIT_HALTED = 3;

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'towline-demo-'));
const [source, target, state] = [join(folder, 'source'), join(folder, 'target'), join(folder, 'state')];
const pair = [source, target, '--state', state];

let running: ChildProcess | undefined;
let isEnding = false;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    isEnding = true;
    running?.kill(signal);
    wake();
  });
}
let wake = (): void => {};

/** Starts `towline` in a process group of its own, so that a Ctrl-C comes from here and only once. */
async function towline(args: readonly string[], onLine?: (line: string) => void): Promise<number> {
  say(`$ towline ${args.join(' ')}`);
  const child = spawn(process.execPath, [LAUNCHER, ...args], {detached: true, stdio: ['ignore', 'pipe', 'pipe']});
  running = child;
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({input: stream}).on('line', (line) => {
      say(line);
      onLine?.(line);
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  running = undefined;
  return code ?? 1;
}

function say(text = ''): void {
  console.log(text);
}

const WHAT_TO_TRY: readonly (readonly [command: string, shows: string])[] = [
  ['echo hello > hello.txt', 'a new file'],
  ["echo 'one more line' >> notes/day-01.txt", 'an append'],
  ['printf X | dd of=large.bin bs=1 seek=12345678 conv=notrunc', 'one byte within 32 MiB'],
  ['mv site website', 'a folder of 300 files is renamed: no content travels'],
  ['rm notes/day-02.txt', 'a delete; the copy goes to the trash'],
  ['diff -r --no-dereference . ../target && echo equal', 'see for yourself'],
  ['rm -rf *', 'an accident: the guard stops it'],
];

let isFirst = true;

function invite(): void {
  if (!isFirst) return;
  isFirst = false;
  const width = Math.max(...WHAT_TO_TRY.map(([command]) => command.length));
  say('\nNow change something. In another terminal:\n');
  say(`  cd ${source}\n`);
  for (const [command, shows] of WHAT_TO_TRY) say(`  ${command.padEnd(width)}   # ${shows}`);
  say('\nEach change shows below, with the time from noticing it to its being safe on the target. Ctrl-C ends.\n');
}

/** Live until it is ended; after a halt it waits for the operator, as a person would. */
async function live(): Promise<number> {
  for (;;) {
    const code = await towline(['sync', ...pair, '-v'], (line) => {
      if (line.startsWith('In sync')) invite();
    });
    if (code !== EXIT_HALTED || isEnding) return code;
    explainHalt();
    await enterOrSignal();
    if (isEnding) return 0;
  }
}

function explainHalt(): void {
  say('\nA guard has stopped Towline: so many deletes at once look like an accident. What went before that was clear');
  say('is in the trash, everything else is still in the target. In the other terminal, either take the files back,\n');
  say(`  cp -a ${target}/* ${source}/\n`); // not the folder itself: its own attributes tell source and target apart
  say('or look at what waits and let it go on:\n');
  say(`  node ${LAUNCHER} confirm ${pair.join(' ')}\n`);
  say('Then press Enter here to start it again, or Ctrl-C to end.');
}

function enterOrSignal(): Promise<void> {
  return new Promise((resolve) => {
    const onEnter = (): void => wake();
    wake = () => {
      process.stdin.off('data', onEnter).pause();
      resolve();
    };
    process.stdin.on('data', onEnter).resume();
    if (isEnding) wake();
  });
}

async function run(): Promise<number> {
  const counts = fillSource(source);
  say('Towline keeps one folder equal to another. This demonstration has made two:\n');
  say(`  source  ${source}   (${counts})`);
  say(`  target  ${target}   (still to be made)\n`);
  say('First once:\n');
  const code = await towline(['sync', ...pair, '--once']);
  if (code !== 0 || isEnding) return isEnding ? 0 : code;
  say('\nThen live:\n');
  return live();
}

let exitCode = 1;
try {
  exitCode = await run();
} finally {
  rmSync(folder, {recursive: true, force: true});
  say(`\nThe folders of the demonstration are removed (${folder}).`);
}
process.exit(exitCode); // a read of stdin that is under way would keep it here
