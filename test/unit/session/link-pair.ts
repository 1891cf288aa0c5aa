/**
 * Both ends of a link over one session, each with a store in memory; the target's applier changes its store alone.
 * For what a link decides, not for what it reads: trees of directories and symlinks need no worker.
 */
import {onTestFinished} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import type {JobRunner} from '../../../src/base/jobs.ts';
import {entryStore, sourceState} from '../../../src/daemon/source-state.ts';
import type {Failed, Op, OpResult} from '../../../src/model/op.ts';
import {nameOf, parentOf, ROOT, type RelPath} from '../../../src/model/path.ts';
import {zeroStats} from '../../../src/model/status.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import {NO_DELETE_LIMITS, type DeleteLimits} from '../../../src/reconcile/delete-guard.ts';
import {RollingHour} from '../../../src/reconcile/rolling-hour.ts';
import type {HotPort, SenderJobs} from '../../../src/session/send-item.ts';
import {Session} from '../../../src/session/session.ts';
import {SourceLink} from '../../../src/session/source-link.ts';
import {TargetLink, type TargetLinkParts} from '../../../src/session/target-link.ts';
import type {VolumeStore} from '../../../src/state/volume-store.ts';
import {directory, entry, openStore} from '../state/state-fixture.ts';
import {channelPair} from './channel-pair.ts';
import {runHere} from './run-here.ts';

export interface LinkPairOptions {
  source?: DeleteLimits;
  target?: DeleteLimits;
  confirmedDeletes?: number;
  /** The target lets the source look, and change nothing. */
  isReadOnly?: boolean;
  /** What the target does not carry out. */
  refused?: TargetLinkParts['refused'];
  /** The source's account, kept over connections. */
  hour?: RollingHour;
  /** What the source reads; without it there is nothing to be read. */
  sourceJobs?: JobRunner<SenderJobs>;
  hot?: HotPort;
}

export class LinkPair {
  readonly source = filled();
  readonly target = filled();
  readonly sourceSession: Session;
  readonly targetSession: Session;
  readonly link: SourceLink;
  readonly targetLink: TargetLink;
  /** What the target's applier was given, as `kind path`, in order. */
  readonly applied: string[] = [];
  /** What the applier waits for before each batch. */
  gate: Promise<void> = Promise.resolve();

  constructor(options: LinkPairOptions = {}) {
    const [left, right] = channelPair();
    this.sourceSession = new Session({name: 'source'}, {channel: left});
    this.targetSession = new Session({name: 'target'}, {channel: right});
    const jobs = runHere<never>({} as never);
    this.targetLink = new TargetLink(
      {
        volume: 'v',
        holding: {limits: PLAIN_VIEW, causes: {}, owner: {uid: 0, gid: 0}},
        deleteLimits: options.target ?? NO_DELETE_LIMITS,
        isReadOnly: options.isReadOnly === true,
      },
      {
        session: this.targetSession,
        jobs,
        tree: this.target,
        clock: systemClock,
        open: async () => ({
          apply: (_frame, {ops}, _, {refused}) => this.#apply(ops, refused),
          giveBack: async () => false,
        }),
        onProblem: () => undefined,
        ...(options.refused && {refused: options.refused}),
      },
    );
    this.link = new SourceLink(
      {
        link: 1,
        volume: 'v',
        view: PLAIN_VIEW,
        isDryRun: false,
        isDurable: true,
        isQuick: false,
        deleteLimits: options.source ?? NO_DELETE_LIMITS,
        confirmedDeletes: options.confirmedDeletes ?? 0,
      },
      {
        session: this.sourceSession,
        jobs: options.sourceJobs ?? jobs,
        hot: options.hot,
        state: sourceState(this.source),
        clock: systemClock,
        hour: options.hour ?? new RollingHour(),
        stats: zeroStats(),
        seed: Buffer.alloc(8),
        signatures: {get: () => undefined, put: () => undefined},
        events: {
          onApplied: () => undefined,
          onFailed: () => undefined,
          onCompared: () => undefined,
        },
      },
    );
    onTestFinished(() => {
      this.sourceSession.close('the test is over');
      void this.targetLink.close(); // not waited for: a test may have let a batch wait for ever
    });
  }

  async open(): Promise<this> {
    await Promise.all([this.sourceSession.ready(), this.targetSession.ready()]);
    await this.link.open();
    return this;
  }

  async #apply(ops: readonly Op[], refused?: ReadonlyMap<number, Failed>): Promise<OpResult[]> {
    await this.gate;
    const store = entryStore(this.target);
    return ops.map((op, index) => {
      const failed = refused?.get(index);
      if (failed !== undefined) return failed;
      this.applied.push(`${op.kind} ${op.path}`);
      const parentId = store.dirIdOf(parentOf(op.path)) as number;
      if (op.kind === 'delete') store.remove(parentId, nameOf(op.path));
      else if (op.kind === 'rename')
        store.move(parentId, nameOf(op.path), store.dirIdOf(parentOf(op.to)) as number, nameOf(op.to));
      else if (op.path === ROOT) store.putRoot(directory(ROOT, this.source.getRoot()));
      else store.put(parentId, this.source.resolve(op.path)!.entry);
      return {status: 'done'};
    });
  }
}

/** A store with a root; `links` symlinks below it can be put with `putLinks`. */
function filled(): VolumeStore {
  const store = openStore();
  store.putRoot(directory(ROOT, {ino: 1}));
  return store;
}

export function putLinks(store: VolumeStore, from: number, count: number, dir: RelPath = ROOT): void {
  for (let index = from; index < from + count; index++) {
    store.put(store.dirIdOf(dir) as number, entry(`l${index}`, {type: 'symlink', content: undefined, linkTarget: 'x'}));
  }
}
