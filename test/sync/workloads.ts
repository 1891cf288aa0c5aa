/**
 * Work that is done in real trees: a repository, a database, an installation of packages. Each runs programs that are
 * not ours, to their end, without blocking the process that waits.
 */
import {spawn} from 'node:child_process';
import {cpSync} from 'node:fs';
import {join} from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

/** Runs a program to its end. @returns its exit code */
export async function run(command: string, args: string[], cwd: string): Promise<number | null> {
  const child = spawn(command, args, {cwd, stdio: 'ignore'});
  return new Promise((resolve, reject) => {
    child.once('exit', resolve);
    child.once('error', reject);
  });
}

async function must(command: string, args: string[], cwd: string): Promise<void> {
  const exitCode = await run(command, args, cwd);
  if (exitCode !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${exitCode}`);
}

async function git(folder: string, ...args: string[]): Promise<void> {
  const who = ['-c', 'user.name=test', '-c', 'user.email=test@invalid', '-c', 'gc.auto=0'];
  await must('git', ['-C', folder, ...who, ...args], folder);
}

/** A clone of this project's repository, with a branch of its own. @returns its path */
export async function cloneRepository(parent: string): Promise<string> {
  const clone = join(parent, 'clone');
  await must('git', ['clone', '-q', '--no-hardlinks', ROOT, clone], parent);
  await git(clone, 'checkout', '-q', '-B', 'work');
  return clone;
}

/** Commits and checkouts, `rounds` of them, then gc and a reset. */
export async function workOnRepository(clone: string, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await git(clone, 'rm', '-q', '-r', '--ignore-unmatch', round % 2 === 0 ? 'test' : 'src/wire');
    await git(clone, 'commit', '-q', '--allow-empty', '-m', `round ${round}`);
    await git(clone, 'checkout', '-q', 'HEAD~1');
    await git(clone, 'checkout', '-q', 'work');
  }
  await git(clone, 'gc', '-q', '--prune=now');
  await git(clone, 'reset', '-q', '--hard', `HEAD~${Math.ceil(rounds / 2)}`);
}

const WRITES = `
const {DatabaseSync} = await import('node:sqlite');
const [file, mode] = process.argv.slice(1);
const db = new DatabaseSync(file);
db.exec('PRAGMA journal_mode = ' + mode + '; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)');
const insert = db.prepare('INSERT INTO t (text) VALUES (?)');
for (let round = 0; round < 150; round++) {
  db.exec('BEGIN');
  for (let count = 0; count < 20; count++) insert.run('row ' + round + '/' + count + ' '.repeat(200));
  db.exec('COMMIT');
  if (round % 10 === 9) db.exec('DELETE FROM t WHERE id % 7 = 3');
}
db.exec('VACUUM');
db.close();
`;

/** 3,000 inserts into a database, with deletes between them and a VACUUM at the end. */
export async function workOnDatabase(file: string, mode: 'DELETE' | 'WAL'): Promise<void> {
  await must(process.execPath, ['--input-type=module', '-e', WRITES, file, mode], join(file, '..'));
}

/** Installs the packages of this project. */
export async function installPackages(folder: string): Promise<void> {
  for (const file of ['package.json', 'package-lock.json', '.npmrc']) cpSync(join(ROOT, file), join(folder, file));
  await must('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], folder);
}

/** A tree like an installation, from this machine: many small files, copied, renamed, replaced, a part deleted. */
export async function workLikeAnInstaller(folder: string): Promise<void> {
  const from = join(ROOT, 'node_modules');
  for (const name of ['vitest', 'commander', 'pino', 'ws']) {
    const staged = join(folder, `.${name}-staged`);
    await must('cp', ['-aL', join(from, name), staged], folder);
    await must('mv', [staged, join(folder, name)], folder);
  }
  await must('rm', ['-rf', 'pino'], folder);
  await must('cp', ['-aL', join(from, 'yaml'), 'pino'], folder);
  await must('mv', ['ws', 'ws-2'], folder);
}
