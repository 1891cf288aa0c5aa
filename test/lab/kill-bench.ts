/**
 * The bench of the kills: both roots and all state on one small filesystem, which is put back as it was before each round
 * (so that roots keep their identity), and the programs that are run and killed there.
 */
import {spawnSync} from 'node:child_process';
import {cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {stringify} from 'yaml';
import {loadOrCreateIdentity} from '../../src/transport/identity-file.ts';
import type {JournalRecord} from '../../src/apply/journal-record.ts';
import {makeLoopFilesystem, type LoopFilesystem} from '../loop-fs.ts';
import {Running, towline, type Run, type RunOptions} from '../sync/harness.ts';
import {makeTmpDir} from '../tmp.ts';
import {fill} from './kill-scenarios.ts';

/** Who is killed: both ends at once, in one process, or one of two agents. */
export const VICTIMS = ['sync', 'target', 'source'] as const;
export type Victim = (typeof VICTIMS)[number];

const IMAGE_MIB = 40;
const LOOSE = {guard: {'delete-share': '100%', 'delete-count': 1_000_000}};
const ONCE_MS = 90_000; // on a machine that has other things to do

export class KillBench {
  readonly #filesystem: LoopFilesystem = makeLoopFilesystem('ext4', IMAGE_MIB);
  readonly #folder = makeTmpDir('file');
  readonly #images = new Map<string, string>();
  /** Instead of the built program. */
  main: string | undefined;

  at(...names: string[]): string {
    return join(this.#filesystem.path, ...names);
  }

  readonly source = this.at('source');
  readonly target = this.at('target');

  /** The target's own folder: staging, trash and journal lie there. */
  own(victim: Victim): string {
    if (victim !== 'sync') return this.at('state-target/volumes/v/target');
    const state = this.at('state-sync');
    const [folder = ''] = existsSync(state)
      ? readdirSync(state, {recursive: true, encoding: 'utf8'}).filter((path) => /(^|\/)target$/.test(path))
      : [];
    return join(state, folder);
  }

  /** As after a first copy of `fill`, or as before it, each time the same. */
  async reset(victim: Victim, isFirstCopy: boolean): Promise<void> {
    const kind = `${victim === 'sync' ? 'sync' : 'agents'}${isFirstCopy ? '-empty' : ''}`;
    const image = this.#images.get(kind);
    this.#filesystem.umount();
    copy(image ?? this.#empty(), this.#filesystem.imagePath!);
    this.#filesystem.mount();
    if (image !== undefined) return;
    for (const path of [this.source, this.target]) if (!existsSync(path)) mkdirSync(path);
    if (victim !== 'sync') await this.#configure();
    if (!isFirstCopy) {
      fill(this.source);
      const run = await this.runOnce(victim);
      if (run.some(({exitCode}) => exitCode !== 0))
        throw new Error(`the first copy failed: ${run.map(({stderr, stdout}) => stdout + stderr).join('\n')}`);
    }
    this.#filesystem.umount();
    this.#images.set(kind, copy(this.#filesystem.imagePath!, join(this.#folder, kind)));
    this.#filesystem.mount();
  }

  #empty(): string {
    const empty = join(this.#folder, 'empty');
    if (!existsSync(empty)) copy(this.#filesystem.imagePath!, empty);
    return empty;
  }

  /** Two agents on loopback. Their configurations stay where they are, their identities go with the image. */
  async #configure(): Promise<void> {
    const ids: Record<string, string> = {};
    for (const name of ['source', 'target']) {
      const state = this.at(`state-${name}`);
      const kept = join(this.#folder, `identity-${name}`);
      mkdirSync(state, {mode: 0o700});
      if (existsSync(kept)) cpSync(kept, state, {recursive: true});
      ids[name] = (await loadOrCreateIdentity(state)).id;
      if (!existsSync(kept)) cpSync(state, kept, {recursive: true});
    }
    if (existsSync(this.#config('target'))) return;
    const address = `127.0.0.1:${await freePort()}`;
    const write = (name: string, settings: object, agent: object): void =>
      writeFileSync(
        this.#config(name),
        stringify({agent: {name, state: this.at(`state-${name}`), ...agent}, ...settings}),
        {mode: 0o600},
      );
    const volume = (more: object): object => ({volumes: {v: {...LOOSE, ...more}}});
    write(
      'target',
      {peers: {source: {id: ids['source']}}, ...volume({at: this.target, receive: 'source'})},
      {listen: address},
    );
    write(
      'source',
      {peers: {target: {id: ids['target'], address}}, ...volume({at: this.source, send: ['target']})},
      {},
    );
  }

  #config(name: string): string {
    return join(this.#folder, `${name}.yaml`);
  }

  /** One catch-up, to its end. @returns each program's run */
  async runOnce(victim: Victim, options: RunOptions = {}): Promise<Run[]> {
    const [killed, other] = this.#start(victim, options);
    return Promise.all([killed.end(ONCE_MS), ...(other === undefined ? [] : [other.end(ONCE_MS)])]);
  }

  /**
   * The same, killed at the `nth` call of that name that one of its threads makes, or of one of several, `a,b`.
   * @returns whether it came to that
   */
  async runKilled(victim: Victim, call: string, nth: number): Promise<boolean> {
    const [killed, other] = this.#start(victim, {wrapper: killing(call, nth)});
    const isOver = isKilled(await killed.end(ONCE_MS));
    if (isOver) await other?.stop('SIGTERM');
    else await other?.end(ONCE_MS);
    return isOver;
  }

  #start(victim: Victim, options: RunOptions): [Running, Running | undefined] {
    const all = this.main === undefined ? options : {...options, main: this.main};
    const bare = this.main === undefined ? {} : {main: this.main};
    if (victim === 'sync')
      return [
        new Running(
          [
            'sync',
            this.source,
            this.target,
            '--once',
            '--state',
            this.at('state-sync'),
            '--delete-limit',
            '1000000,100%',
            '--json',
          ],
          all,
        ),
        undefined,
      ];
    const agent = (name: string, how: RunOptions): Running =>
      new Running(['agent', '--once', '--timeout', '80s', '--config', this.#config(name)], how);
    return [agent(victim, all), agent(victim === 'target' ? 'source' : 'target', bare)];
  }

  /** `towline agent --recover` of the target. */
  recover(...more: string[]): Promise<Run> {
    return this.#recover(more, {});
  }

  /** The same, killed at the `nth` call of that name. @returns whether it came to that */
  async recoverKilled(call: string, nth: number): Promise<boolean> {
    return isKilled(await this.#recover([], {wrapper: killing(call, nth)}));
  }

  #recover(more: readonly string[], options: RunOptions): Promise<Run> {
    const main = this.main === undefined ? {} : {main: this.main};
    const args = ['agent', '--recover', '--config', this.#config('target'), ...more];
    return towline(args, {...main, ...options, timeoutMs: ONCE_MS});
  }

  /** The filesystem as it is now, not mounted any more. @returns its image, and where it has to be mounted */
  detach(): {image: string; mountPoint: string} {
    const {path, imagePath} = this.#filesystem;
    this.#filesystem.umount();
    return {image: copy(imagePath!, join(this.#folder, 'detached')), mountPoint: path};
  }

  attach(): void {
    this.#filesystem.mount();
  }

  /** As the target's agent reads it. */
  targetConfig(): string {
    return readFileSync(this.#config('target'), 'utf8');
  }

  /** The target's agent by itself: nobody sends. */
  startTarget(): Running {
    return new Running(['agent', '--config', this.#config('target')]);
  }

  /** What is open in the target's journal, read from a copy. */
  journalled(victim: Victim): JournalRecord[] {
    const own = this.own(victim);
    if (!existsSync(join(own, 'journal.db'))) return [];
    const folder = makeTmpDir();
    for (const name of readdirSync(own).filter((each) => /^journal\.db(-wal)?$/.test(each)))
      cpSync(join(own, name), join(folder, name));
    const db = new DatabaseSync(join(folder, 'journal.db'));
    try {
      const isMade = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'batches'").get() !== undefined;
      const rows = isMade ? db.prepare('SELECT body FROM batches ORDER BY id').all() : [];
      return rows.flatMap(
        ({body}) => (JSON.parse(Buffer.from(body as Uint8Array).toString()) as {records: JournalRecord[]}).records,
      );
    } finally {
      db.close();
    }
  }
}

/** Each thread counts for itself. Source: strace(1) */
function killing(call: string, nth: number): string[] {
  const inject = `inject=${call}:signal=KILL:when=${nth}`;
  return ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', inject];
}

function isKilled({exitCode, signal}: Run): boolean {
  return signal === 'SIGKILL' || exitCode === 137;
}

/** To another inode: where somebody's namespace still has the last one mounted, that stays another filesystem. */
function copy(from: string, to: string): string {
  rmSync(to, {force: true});
  const {status, stderr} = spawnSync('cp', ['--sparse=always', '--reflink=auto', from, to], {encoding: 'utf8'});
  if (status !== 0) throw new Error(stderr);
  return to;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const {port} = server.address() as {port: number};
  await new Promise((resolve) => server.close(resolve));
  return port;
}
