/**
 * The demonstration as a newcomer sees it: `npm start`, a change in the folder that it names, an accident, Ctrl-C.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {afterAll, expect, test} from 'vitest';
import {needsCommands, needsRoot} from '../needs.ts';

const PROJECT = join(import.meta.dirname, '../..');
const DEADLINE_MS = 20_000;

const alive = new Set<ChildProcess>();
afterAll(() => {
  for (const child of alive) child.kill('SIGTERM');
});

/** A started demonstration and all that it has printed. */
class Demonstration {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #text = '';
  #onText = (): void => {};

  constructor(command: string, args: readonly string[]) {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
    this.#child = spawn(command, args, {cwd: PROJECT, env: {...env, NO_COLOR: '1'}, stdio: 'pipe'});
    this.#closed = once(this.#child, 'close');
    alive.add(this.#child);
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#text += text.replaceAll('\r', '');
        this.#onText();
      });
    }
  }

  /** Resolves with the first match, also of what was printed before the call. */
  see(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new Error(`${pattern.source} was not printed:\n${this.#text}`));
      const timer = setTimeout(fail, DEADLINE_MS);
      this.#onText = () => {
        const match = pattern.exec(this.#text);
        if (match === null) return;
        clearTimeout(timer);
        resolve(match);
      };
      this.#onText();
    });
  }

  type(keys: string): void {
    this.#child.stdin!.write(keys);
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async exitCode(): Promise<number | null> {
    await this.#closed;
    alive.delete(this.#child);
    return this.#child.exitCode;
  }
}

/** The source that it tells to change to, once it is watched. */
async function readySource(demo: Demonstration): Promise<string> {
  const [, source = ''] = await demo.see(/^ {2}cd (\S+)$/m);
  await demo.see(/Ctrl-C ends\.$/m);
  return source;
}

needsCommands('script', 'npm')(test)(
  'npm start shows a change with its latency, and Ctrl-C ends it with 0 and takes its folders away',
  async () => {
    const demo = new Demonstration('script', ['-qec', 'exec npm start', '/dev/null']);
    const source = await readySource(demo);
    writeFileSync(join(source, 'hello.txt'), 'hello\n');
    await demo.see(/^\+ hello\.txt \(6 B\) {2}\d+ ms$/m);
    expect(readFileSync(join(dirname(source), 'target/hello.txt'), 'utf8')).toBe('hello\n');
    demo.type('\u0003');
    expect(await demo.exitCode()).toBe(0);
    expect(existsSync(dirname(source))).toBe(false);
  },
);

needsRoot(test)('stops at rm -rf of everything, and goes on after Enter when the files are back', async () => {
  const demo = new Demonstration(process.execPath, ['demo/start.js']);
  const source = await readySource(demo);
  const target = join(dirname(source), 'target');
  for (const name of readdirSync(source)) rmSync(join(source, name), {recursive: true});
  await demo.see(/^Then press Enter here/m);
  expect(readdirSync(join(target, 'site'))).toHaveLength(6);
  for (const name of readdirSync(target)) {
    cpSync(join(target, name), join(source, name), {recursive: true, verbatimSymlinks: true, preserveTimestamps: true});
  }
  demo.type('\n');
  await demo.see(/Enter here[^]*^In sync as of/m);
  writeFileSync(join(source, 'again.txt'), 'again\n');
  await demo.see(/^\+ again\.txt/m);
  demo.signal('SIGINT');
  expect(await demo.exitCode()).toBe(0);
  expect(existsSync(dirname(source))).toBe(false);
});
