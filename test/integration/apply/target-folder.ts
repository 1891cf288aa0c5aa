/**
 * A target without a peer: a real folder with staging and trash, the applier with its real jobs, in this thread.
 */
import {mkdirSync, readdirSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {onTestFinished} from 'vitest';
import {Applier, type Findings} from '../../../src/apply/applier.ts';
import {applyHandlers, type ApplyJobs} from '../../../src/apply/apply-jobs.ts';
import type {DestroyedAction} from '../../../src/apply/destroyed.ts';
import type {Journal} from '../../../src/apply/roll-forward.ts';
import {systemClock, type Clock} from '../../../src/base/clock.ts';
import type {JobRunner} from '../../../src/base/jobs.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {statFd} from '../../../src/linux/stat.ts';
import {ContentHash} from '../../../src/model/content-hash.ts';
import {LEAF_BYTES, leafCountOf, sha256, type Digest} from '../../../src/model/digest.ts';
import {seenOf, type Meta} from '../../../src/model/entry.ts';
import type {Op, OpResult} from '../../../src/model/op.ts';
import {ROOT, type RelPath} from '../../../src/model/path.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import {NO_DELETE_LIMITS} from '../../../src/reconcile/delete-guard.ts';
import {RollingHour} from '../../../src/reconcile/rolling-hour.ts';
import {TargetDeletes} from '../../../src/session/target-deletes.ts';
import {openJournalStore} from '../../../src/state/journal-store.ts';
import {openVolumeStore} from '../../../src/state/volume-store.ts';
import {BatchWriter} from '../../../src/wire/batch-writer.ts';
import {encode} from '../../../src/wire/codec.ts';
import {injectInto, type Injection} from '../../lab/inject.ts';
import {makeTmpDir} from '../../tmp.ts';
import {runHere} from '../../unit/session/run-here.ts';

await loadXxhash();

export const META: Meta = {
  mode: 0o644,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  mtime: {s: 1_700_000_000, ns: 0},
  attrs: NO_ATTRS,
};

export class TargetFolder {
  readonly folder: string;
  readonly root: string;
  readonly staging: string;
  readonly trash: string;
  readonly actions: DestroyedAction[] = [];
  /** After the switch of a batch, before anything is recorded; throws as a crash would end it. */
  onSwitched: () => void = () => undefined;
  /** Before a job is done; throws likewise, or does something else before. */
  onJob: (kind: keyof ApplyJobs, input: unknown) => void | Promise<void> = () => undefined;
  /** After a batch was journalled, and after it left the journal; throws likewise. */
  onJournal: (step: 'appended' | 'dropped') => void = () => undefined;
  readonly #store = openVolumeStore({place: ':memory:', side: 'target', view: PLAIN_VIEW, bootId: ''});
  readonly #journal = openJournalStore({place: ':memory:', bootId: ''});
  readonly #jobs: JobRunner<ApplyJobs>;
  readonly #ignore: string[];
  #applier: Applier;
  #batch = 0;
  clock: Clock = systemClock;

  constructor(options: {ignore?: string[]; folder?: string} = {}) {
    this.#ignore = options.ignore ?? [];
    this.folder = options.folder ?? makeTmpDir();
    [this.root, this.staging, this.trash] = [
      this.#makeFolder('root'),
      this.#makeFolder('staging'),
      this.#makeFolder('trash'),
    ];
    const [fd, stagingFd, trashFd] = [this.root, this.staging, this.trash].map(openDirPath) as [number, number, number];
    const {mountId} = statFd(fd);
    const {handlers} = applyHandlers((job) => job({fd, mountId}, {stagingFd, trashFd, reserve: 0}));
    const real = runHere(handlers);
    this.#jobs = {
      run: async (kind, input) => {
        await this.onJob(kind, input);
        const out = await real.run(kind, input);
        if (kind === 'switch-batch') this.onSwitched();
        return out;
      },
    };
    this.#applier = this.#newApplier();
    this.#store.putRoot({
      ...statFd(fd),
      name: ROOT,
      content: undefined,
      linkTarget: '',
      attrs: NO_ATTRS,
      isIncomplete: false,
      seq: 1,
      version: [],
    });
    onTestFinished(() => {
      for (const open of [fd, stagingFd, trashFd]) closeFd(open);
      this.#store.close();
      this.#journal.close();
    });
  }

  /** As after a restart. @returns batches that were completed */
  async recover(): Promise<number> {
    this.#applier = this.#newApplier();
    return (await this.#applier.recover()).batches;
  }

  apply(...ops: Op[]): Promise<OpResult[]> {
    return this.#apply(ops);
  }

  /** As a link has it done: judged first, by what the state says. @returns also how many entries were counted */
  async applyJudged(...ops: Op[]): Promise<{count: number; results: OpResult[]}> {
    const options = {volume: 'v', deleteLimits: NO_DELETE_LIMITS};
    const deletes = new TargetDeletes(options, {tree: this.#store, clock: systemClock, hour: new RollingHour()});
    const judged = deletes.judge(ops);
    const bare = new Set(judged.flatMap(({isBare}, index) => (isBare ? [index] : [])));
    return {count: judged.reduce((sum, {count}) => sum + count, 0), results: await this.#apply(ops, {bare})};
  }

  async #apply(ops: Op[], found?: Findings): Promise<OpResult[]> {
    const writer = new BatchWriter();
    for (const op of ops) writer.append(op);
    const batch = ++this.#batch;
    const frame = writer.finish(1, batch, 0);
    return this.#applier.apply(frame, {kind: 'batch', link: 1, batch, seq: 0, ops}, new Map(), found);
  }

  /**
   * Sends a large file as a source does, and has the batch take it.
   * @param options `inPlaceAbove`: as `replace` says, and the source knows what is there; else it sends all of it; `zeros`: of a file with holes, leaves that are passed as such
   */
  async applyLarge(
    path: RelPath,
    bytes: Buffer,
    {inPlaceAbove, meta = META, zeros = []}: {inPlaceAbove?: number; meta?: Meta; zeros?: number[]} = {},
  ): Promise<OpResult> {
    const entry = inPlaceAbove === undefined ? undefined : this.#store.get(this.#store.root(), path);
    const old = entry === undefined ? Buffer.alloc(0) : readFileSync(join(this.root, path));
    const token = ++this.#batch;
    const stage = `t${token}-1`;
    const base = entry && {path, expected: seenOf(entry)};
    const allocatedBytes = zeros.length > 0 ? bytes.length - zeros.length * LEAF_BYTES : undefined;
    const file = {token, stage, path, sizeBytes: bytes.length, base, allocatedBytes, inPlaceAbove};
    const opened = await this.#jobs.run('open-staged', {...file, isDurable: true, partial: undefined, spare: []});
    if (opened.result.status === 'failed') return opened.result;
    const hash = new ContentHash();
    for (let leaf = 0; leaf < leafCountOf(bytes.length); leaf++) {
      const at = leaf * LEAF_BYTES;
      const piece = bytes.subarray(at, at + LEAF_BYTES);
      if (zeros.includes(leaf)) {
        hash.zeros(piece.length);
        await this.#jobs.run('pass-holes', {token, leafIndexFirst: leaf, leafCount: 1});
        continue;
      }
      const digest = sha256(piece);
      hash.leaf(digest);
      const isThere = old.subarray(at, at + piece.length).equals(piece);
      const copy = {kind: 'copy', baseOffset: at, sizeBytes: piece.length} as const;
      const leaves = [{digest, ops: [isThere ? copy : ({kind: 'literal', bytes: piece} as const)]}];
      const frame = encode({kind: 'file-leaves', link: 1, transfer: token, leafIndexFirst: leaf, leaves});
      const {rejected} = await this.#jobs.run('write-leaves', {token, frame});
      if (rejected.length > 0) throw new Error(`leaf ${leaf} was rejected`);
    }
    const content = hash.finish();
    const finished = await this.#jobs.run('finish-staged', {token, content});
    if (finished.status === 'failed') return finished;
    const source = {from: 'staged', transfer: token} as const;
    const op: Op = {kind: 'put-file', path, meta, sizeBytes: bytes.length, content, source, allocatedBytes};
    const writer = new BatchWriter();
    writer.append(op);
    const message = {kind: 'batch', link: 1, batch: token, seq: 0, ops: [op]} as const;
    const name = opened.file?.stage ?? stage;
    const staged = new Map([[token, {stage: name, content, redoOf: opened.redoOf}]]);
    const [result] = await this.#applier.apply(writer.finish(1, token, 0), {...message, ops: [op]}, staged);
    return result as OpResult;
  }

  /** Batches that are open in the journal. */
  get openBatches(): number {
    return [...this.#journal.pending()].length;
  }

  /** Digest of the content that the state says is there; undefined where it says none. */
  knownContent(name: RelPath): Digest | undefined {
    return this.#store.get(this.#store.root(), name)?.content;
  }

  /** One step of giving space back. @returns whether there is more */
  giveBack(): Promise<boolean> {
    return this.#applier.giveBack();
  }

  /** What lies at a place of the trash. */
  kept(place: string | undefined): string {
    return readFileSync(join(this.trash, place ?? ''), 'utf8');
  }

  /** Items of the trash, of all hours. */
  items(): string[] {
    return readdirSync(this.trash).flatMap((hour) =>
      readdirSync(join(this.trash, hour))
        .filter((name) => /^[0-9a-f]{24}-/.test(name))
        .map((name) => `${hour}/${name}`),
    );
  }

  #newApplier(): Applier {
    const options = {
      isDurable: false,
      view: {...PLAIN_VIEW, owners: false, ignore: this.#ignore},
      reserved: [],
      agent: '00000000000000aa',
    };
    const clock: Clock = {...systemClock, nowMs: () => this.clock.nowMs()};
    const journal: Journal = {
      append: (batch) => {
        this.#journal.append(batch);
        this.onJournal('appended');
      },
      pending: () => this.#journal.pending(),
      drop: (id) => {
        this.#journal.drop(id);
        this.onJournal('dropped');
      },
    };
    const parts = {jobs: this.#jobs, store: this.#store, journal, clock};
    return new Applier(options, {...parts, onDestroyed: (actions) => void this.actions.push(...actions)});
  }

  #makeFolder(name: string): string {
    const path = join(this.folder, name);
    mkdirSync(path, {mode: 0o700});
    return path;
  }
}

/** By strace: lets system calls of this process fail from the next switch on. @returns ends it; the count of calls that failed */
export function failing(target: TargetFolder, injection: Injection): () => Promise<number> {
  let running: Promise<() => Promise<number>> | undefined;
  target.onJob = async (kind) => {
    if (kind === 'switch-batch')
      await (running ??= injectInto(process.pid, injection, join(makeTmpDir('file'), 'calls')));
  };
  const end = async (): Promise<number> => (await (await running)?.()) ?? 0;
  onTestFinished(() => end().then(() => undefined));
  return end;
}

export function putFile(path: RelPath, text: string): Op {
  const bytes = Buffer.from(text);
  const content = sha256(sha256(bytes));
  return {kind: 'put-file', path, meta: META, sizeBytes: bytes.length, content, source: {from: 'inline', bytes}};
}

export function makeDir(path: RelPath): Op {
  return {kind: 'make-dir', path, meta: {...META, mode: 0o755}};
}

export function remove(path: RelPath, type: 'file' | 'dir' = 'file'): Op {
  return {kind: 'delete', path, type};
}
