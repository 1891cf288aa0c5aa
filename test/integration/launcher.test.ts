/**
 * The launcher with a stand-in for the program: what it passes on, and what it says when something is missing.
 * An older Node.js, another system and an older kernel are pretended by a preloaded line; the processes are real.
 */
import {type ChildProcess, spawn, type SpawnOptions} from 'node:child_process';
import {once} from 'node:events';
import {copyFileSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {text} from 'node:stream/consumers';
import {expect, test} from 'vitest';
import {needsCommands} from '../needs.ts';
import {makeTmpDir} from '../tmp.ts';

const ROOT = realpathSync(join(import.meta.dirname, '../..'));
const BUNDLED = `node_modules/node-linux-${process.arch}`;
const SCRIPTS = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {scripts: {start: string}}).scripts;
const OLD_NODE = "Object.defineProperty(process, 'versions', {value: {...process.versions, node: '20.19.0'}})";
const DARWIN = "Object.defineProperty(process, 'platform', {value: 'darwin'})";
const OLD_KERNEL =
  "import os from 'node:os'; import {syncBuiltinESMExports} from 'node:module'; os.release = () => '5.4.0-9'; syncBuiltinESMExports()";

/** A program that says its process ID, its arguments and what it reads, and ends with 7. */
const ECHO = `
  process.stdin.setEncoding('utf8').on('data', (data) => {
    console.log(JSON.stringify({pid: process.pid, argv: process.argv.slice(2), data}));
    process.exitCode = 7;
  });`;

/** A program that counts signals and, 300 ms after the first, ends with their number: room for one too many. */
const COUNT = `
  let count = 0;
  const onSignal = (signal) => {
    count++;
    setTimeout(() => { console.log(\`\${signal} \${count}\`); process.exit(40 + count); }, 300);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, onSignal);
  process.stdin.resume();
  console.log('ready');`;

interface Project {
  main?: string;
  without?: 'build' | 'bundled node';
}

/** A folder with the launcher and a stand-in for the build; returns the launcher's path. */
function makeProject({main = ECHO, without}: Project = {}): string {
  const folder = makeTmpDir();
  for (const name of ['bin', 'demo', 'dist', 'node_modules']) mkdirSync(join(folder, name));
  for (const path of ['bin/towline.js', 'demo/start.js']) copyFileSync(join(ROOT, path), join(folder, path));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({type: 'module', scripts: {start: SCRIPTS.start}}));
  if (without !== 'build') writeFileSync(join(folder, 'dist/main.js'), main);
  if (without !== 'bundled node') symlinkSync(realpathSync(join(ROOT, BUNDLED)), join(folder, BUNDLED));
  return join(folder, 'bin/towline.js');
}

function nodeArgs(launcher: string, pretence: string, args: readonly string[] = []): string[] {
  const preload = pretence === '' ? [] : ['--import', `data:text/javascript,${encodeURIComponent(pretence)}`];
  return [...preload, launcher, ...args];
}

interface Ended {
  pid: number | undefined;
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

async function ended(child: ChildProcess): Promise<Ended> {
  const [[code, signal], stdout, stderr] = await Promise.all([
    once(child, 'close') as Promise<[number | null, string | null]>,
    child.stdout === null ? '' : text(child.stdout),
    child.stderr === null ? '' : text(child.stderr),
  ]);
  return {pid: child.pid, code, signal, stdout, stderr};
}

function launch(
  launcher: string,
  pretence = '',
  args: readonly string[] = [],
  options: SpawnOptions = {},
): ChildProcess {
  return spawn(process.execPath, nodeArgs(launcher, pretence, args), {stdio: 'pipe', ...options});
}

test('runs the program in the same process when Node.js is 24 or newer', async () => {
  const child = launch(makeProject(), '', ['--version', 'a b']);
  child.stdin?.end('typed');
  const {code, stdout, pid} = await ended(child);
  expect(JSON.parse(stdout)).toEqual({pid, argv: ['--version', 'a b'], data: 'typed'});
  expect(code).toBe(7);
});

test('runs the program with the Node.js 24 of the package when Node.js is 20: arguments, stdin and exit code pass', async () => {
  const child = launch(makeProject(), OLD_NODE, ['--version', 'a b']);
  child.stdin?.end('typed');
  const {code, stdout, pid} = await ended(child);
  expect(JSON.parse(stdout)).toEqual({pid: expect.not.toBeOneOf([pid]), argv: ['--version', 'a b'], data: 'typed'});
  expect(code).toBe(7);
});

test('is found through a symbolic link, as npm installs it', async () => {
  const link = join(makeTmpDir(), 'towline');
  symlinkSync(makeProject(), link);
  const child = launch(link, OLD_NODE);
  child.stdin?.end('typed');
  expect(await ended(child)).toMatchObject({code: 7, stderr: ''});
});

test('dies by the signal that killed the program', async () => {
  const child = launch(makeProject({main: "process.kill(process.pid, 'SIGKILL')"}), OLD_NODE);
  expect(await ended(child)).toMatchObject({code: null, signal: 'SIGKILL'});
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'hands a lone %s on, once, and lets the program decide',
  async (signal) => {
    const child = launch(makeProject({main: COUNT}), OLD_NODE, [], {detached: true});
    child.stdout?.once('data', () => child.kill(signal));
    expect(await ended(child)).toMatchObject({code: 41, stdout: `ready\n${signal} 1\n`});
  },
);

/** Runs words in a terminal of their own, presses Ctrl-C when the program is ready, and waits for the end. */
function pressCtrlC(words: readonly string[], options: SpawnOptions = {}): Promise<Ended> {
  const command = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const child = spawn('script', ['-qec', `exec ${command}`, '/dev/null'], {...options, stdio: 'pipe'});
  child.stdout?.on('data', (data: Buffer) => {
    if (data.includes('ready')) child.stdin?.write('\u0003');
  });
  return ended(child);
}

needsCommands('script')(test)('does not repeat the SIGINT that Ctrl-C sends to both processes', async () => {
  const launcher = makeProject({main: COUNT});
  const {code, stdout} = await pressCtrlC([process.execPath, ...nodeArgs(launcher, OLD_NODE)]);
  expect(stdout).toContain('SIGINT 1');
  expect(code).toBe(41);
});

needsCommands('script', 'npm')(test)(
  'Ctrl-C in `npm start` is one SIGINT, and npm ends as the program does',
  async () => {
    const cwd = dirname(dirname(makeProject({main: COUNT})));
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
    const {code, stdout} = await pressCtrlC(['npm', 'start', '--', 'agent'], {cwd, env});
    expect(stdout).toContain('SIGINT 1');
    expect(code).toBe(41);
  },
);

const faults: {title: string; project?: Project; pretence?: string; sentence: RegExp}[] = [
  {
    title: 'another system',
    pretence: DARWIN,
    sentence: /^towline: Towline runs on Linux 5\.6 or newer; this is darwin\n$/,
  },
  {
    title: 'Linux 5.4',
    pretence: OLD_KERNEL,
    sentence: /^towline: Towline runs on Linux 5\.6 or newer; this is Linux 5\.4\.0-9\n$/,
  },
  {
    title: 'no build',
    project: {without: 'build'},
    sentence: /^towline: Towline is not built yet: run `npm run build` in \S+\n$/,
  },
  {
    title: 'Node.js 20 and no bundled one',
    project: {without: 'bundled node'},
    pretence: OLD_NODE,
    sentence:
      /^towline: Towline needs Node\.js 24, this is 20\.19\.0, and the package node-linux-\w+ .* is not installed.*\n$/,
  },
];

test.each(faults)(
  'says what is missing in one sentence and ends with 2: $title',
  async ({project, pretence, sentence}) => {
    const {code, stdout, stderr} = await ended(launch(makeProject(project), pretence));
    expect(stderr).toMatch(sentence);
    expect({code, stdout}).toEqual({code: 2, stdout: ''});
  },
);

test.each([
  {title: 'in the same process', pretence: ''},
  {title: 'with a second process', pretence: OLD_NODE},
])('reaches the program in less than 150 ms $title (the best of 5)', async ({pretence}) => {
  const launcher = makeProject({main: ''});
  let bestMs = Infinity;
  for (let index = 0; index < 5; index++) {
    const startMs = performance.now();
    expect(await ended(launch(launcher, pretence))).toMatchObject({code: 0});
    bestMs = Math.min(bestMs, performance.now() - startMs);
  }
  expect(bestMs).toBeLessThan(150);
});
