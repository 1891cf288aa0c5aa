/**
 * What a run of `sync` holds while it goes on: the source's state, workers and scanner, and the thread of the target.
 *
 * Opens and closes; drives nothing. Invariant: when opening fails, nothing stays open.
 */
import {systemClock as clock} from '../base/clock.ts';
import {endAll, endTogether} from '../base/end-all.ts';
import type {JobPool} from '../base/worker-pool.ts';
import type {View} from '../model/view.ts';
import {Scanner} from '../scan/scanner.ts';
import {SecondLook} from '../session/second-look.ts';
import type {SourceState} from '../session/source-link.ts';
import {RESERVED_NAME} from '../volume/places.ts';
import {offeredView} from './own-limits.ts';
import {entryStore, secondLookState, sourceState} from './source-state.ts';
import {openState, type OpenState} from './state-folder.ts';
import {SOURCE_AGENT} from './sync-agents.ts';
import type {SyncOptions, SyncParts} from './sync-api.ts';
import {SyncEvents} from './sync-events.ts';
import {TargetThread} from './target-thread.ts';
import {volumePool, type VolumeJobs} from './volume-jobs.ts';

const TRASH_KEEP_MS = 7 * 24 * 3_600_000;

export interface SourceEnds {
  state: OpenState;
  source: SourceState;
  pool: JobPool<VolumeJobs>;
  scanner: Scanner;
  secondLook: SecondLook;
  target: TargetThread;
  events: SyncEvents;
}

/** @param folder the state folder of this pair. @throws TowlineError as `openState` */
export function openEnds(options: SyncOptions, folder: string, parts: SyncParts): SourceEnds {
  const {source: rootPath, isDryRun} = options;
  const view = viewOf(options);
  const onNotice = (message: string): void => parts.onEvent({kind: 'notice', level: 'warn', message});
  const target = new TargetThread(
    {
      volume: 'sync',
      rootPath: options.target,
      stateFolder: `${folder}/target`,
      isDryRun,
      isDurable: options.durability !== 'none',
      deleteLimits: options.deleteLimit,
      view,
      accept: options.accept,
      trashKeepMs: TRASH_KEEP_MS,
      inPlaceAbove: options.inPlaceAbove,
    },
    {onNotice},
  );
  let state: OpenState | undefined;
  try {
    state = openState({
      folder: `${folder}/source`,
      side: 'source',
      rootPath,
      isDryRun,
      isDurable: options.durability !== 'none',
      onNotice,
    });
    state.volume.setIds(view.ids);
    const pool = volumePool('towline source', {root: state.root, places: undefined});
    const again = {state: secondLookState(state.volume, SOURCE_AGENT), jobs: pool, clock};
    const secondLook = new SecondLook({quietMs: parts.silentTimes?.quietMs}, again);
    const source = sourceState(state.volume, secondLook);
    const rules = {ignore: view.ignore, reserved: [RESERVED_NAME], seed: state.volume.hashSeed};
    const scanner = new Scanner(
      {agent: SOURCE_AGENT, rules, ids: view.ids},
      {store: entryStore(state.volume), jobs: pool},
    );
    const events = new SyncEvents(
      {isLive: !options.isOnce, isDryRun},
      {
        agent: state.agent,
        clock,
        onEvent: (event) => parts.onEvent(event),
        isThere: (path) => source.entryAt(path) !== undefined,
      },
    );
    return {state, source, pool, scanner, secondLook, target, events};
  } catch (error) {
    state?.close();
    void target.close();
    throw error;
  }
}

export async function closeEnds(ends: SourceEnds): Promise<void> {
  await endAll([() => endTogether([ends.target.close(), ends.pool.close()]), () => ends.state.close()]);
}

/** The view that the source offers. */
export function viewOf(options: SyncOptions): View {
  return offeredView(options);
}
