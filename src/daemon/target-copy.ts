/**
 * A received copy as its side of a volume works on it: brought to the source's view, scanned, rolled forward after a
 * crash.
 *
 * Not in charge of when: who calls keeps one of these from running beside another. Invariant: what a crash left half done
 * is completed before anything else changes the copy.
 */
import {Applier} from '../apply/applier.ts';
import type {DestroyedAction} from '../apply/destroyed.ts';
import type {PartialFiles} from '../apply/partial-files.ts';
import {GiveBack} from '../apply/give-back.ts';
import {rollForward, type RolledForward} from '../apply/roll-forward.ts';
import {TargetRows} from '../apply/target-rows.ts';
import {TowlineError} from '../base/errors.ts';
import type {JobRunner} from '../base/jobs.ts';
import type {VolumeConfig} from '../config/agent-config.ts';
import {ROOT, type RelPath} from '../model/path.ts';
import type {View} from '../model/view.ts';
import type {Change, ScanResult} from '../scan/pass.ts';
import {Scanner} from '../scan/scanner.ts';
import {stepOf} from '../session/change-steps.ts';
import type {BatchApplier} from '../session/target-link.ts';
import {RESERVED_NAME, type Places} from '../volume/places.ts';
import type {AgentParts} from './agent-parts.ts';
import {entryStore} from './source-state.ts';
import type {OpenState} from './state-folder.ts';
import {SOURCE_AGENT, TARGET_AGENT} from './sync-agents.ts';
import {DRIFTED_MAX, driftOf} from './target-problems.ts';
import type {VolumeJobs} from './volume-jobs.ts';

export interface TargetCopyOptions {
  config: VolumeConfig;
  foldsCase: boolean;
  places: Places;
  /** Whether what others change is told path by path, and not only repaired. */
  reportsDrift(): boolean;
  onNotice(message: string): void;
  onDrift(paths: readonly RelPath[]): void;
  /** Something went into the trash. */
  onTrashed(): void;
}

export interface TargetCopyParts extends Pick<AgentParts, 'clock' | 'onActions'> {
  opened: OpenState;
  partials: PartialFiles;
  jobs: JobRunner<VolumeJobs>;
}

const DRIFT_PATHS_MAX = DRIFTED_MAX + 1; // one more than are told one by one: then everything is held

/** What an operator should know of what a crash had interrupted. */
export function recoveredSentences({batches, problems}: RolledForward): string[] {
  return batches > 0 ? [`${batches} batch(es) that a crash had interrupted were completed`, ...problems] : problems;
}

export class TargetCopy {
  readonly #options: TargetCopyOptions;
  readonly #parts: TargetCopyParts;
  /** Whether the state is as a scan of this run has left it. */
  #isPrepared = false;

  constructor(options: TargetCopyOptions, parts: TargetCopyParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** @returns what applies the source's batches, once the copy was rolled forward and scanned */
  async prepare(view: View, isDurable: boolean): Promise<Applier> {
    const {opened, partials, jobs, clock} = this.#parts;
    const {config, foldsCase, places} = this.#options;
    const {volume, journal} = opened;
    volume.setView(view);
    const origin = {agent: SOURCE_AGENT, places, peer: config.receive?.from};
    const options = {isDurable, reserved: [RESERVED_NAME], view, foldsCase, ...origin};
    const applier = new Applier(options, {
      ...{jobs, store: volume, journal, partials, clock},
      onDestroyed: this.#noteActions,
    });
    this.#tellRecovered(await applier.recover());
    // Of a run that was killed the state may lack what that run itself has done.
    const isKnown = volume.entryCount() > 0 && (this.#isPrepared || !volume.openedUnclean);
    const {changes} = await this.scan(view);
    this.#isPrepared = true;
    if (isKnown && this.#options.reportsDrift()) this.#options.onDrift(this.driftAmong(changes, view));
    return applier;
  }

  /** Without a look at the journal: this copy is not a target's, and nothing is rolled forward on it. */
  async look(view: View): Promise<BatchApplier> {
    this.#parts.opened.volume.setView(view);
    await this.scanner(view).scan();
    const apply = (): never => {
      throw new TowlineError('REFUSED', 'this link was opened to look alone', {reason: 'read only'});
    };
    return {apply, giveBack: () => Promise.resolve(false)};
  }

  async recover(): Promise<void> {
    const {opened, jobs, clock} = this.#parts;
    const {journal, volume: store} = opened;
    const rows = new TargetRows(SOURCE_AGENT, {store, giveBack: new GiveBack({jobs, store})});
    const onSwitched = rows.recordPatched.bind(rows);
    this.#tellRecovered(await rollForward({jobs, clock, journal, onSwitched, onDestroyed: this.#noteActions}));
  }

  scanner(view: View): Scanner {
    const {opened, jobs} = this.#parts;
    const rules = {ignore: view.ignore, reserved: [RESERVED_NAME], seed: opened.volume.hashSeed};
    return new Scanner({agent: TARGET_AGENT, rules}, {store: entryStore(opened.volume), jobs});
  }

  /** Where drift is only told, every change is wanted, and not only what a comparison does not find. */
  scan(view: View): Promise<ScanResult> {
    const scanner = this.scanner(view);
    const isDetailed = this.#options.reportsDrift() && this.#parts.opened.volume.getRoot() !== undefined;
    return isDetailed ? scanner.lookAt([], {trees: [ROOT]}) : scanner.scan();
  }

  /** @returns paths that the source has to know of, not more than are worth telling */
  driftAmong(changes: readonly Change[], view: View): RelPath[] {
    // Renaming a directory changes its ctime, for one: nothing that the source would have to repair.
    const drifted = changes.filter((change) => stepOf(change, view) !== undefined);
    const paths = this.#options.reportsDrift() ? drifted.flatMap(driftOf) : drifted.map(({path}) => path);
    return paths.slice(0, DRIFT_PATHS_MAX);
  }

  #tellRecovered(recovered: RolledForward): void {
    for (const sentence of recoveredSentences(recovered)) this.#options.onNotice(sentence);
  }

  readonly #noteActions = (actions: DestroyedAction[]): void => {
    const {name, receive} = this.#options.config;
    if (actions.some(({place}) => place !== undefined)) this.#options.onTrashed();
    this.#parts.onActions(actions.map((action) => ({...action, volume: name, peer: receive?.from ?? ''})));
  };
}
