/**
 * `towline agent --recover`: completes what a crash left half done in the volumes that this agent receives, before
 * anybody uses them; without an engine, a peer, or the agent.
 *
 * Each root is found where it was, by its identity, and each staging folder where the journal says. Invariant: a root
 * that is missing or another keeps its journal, for when it is back; where nothing is to be done nothing is touched.
 */
import {existsSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {decodeJournal, type JournalPlaces} from '../apply/journal-record.ts';
import type {DestroyedAction} from '../apply/destroyed.ts';
import {rollForward, type RolledForward} from '../apply/roll-forward.ts';
import {systemClock as clock} from '../base/clock.ts';
import {endAll} from '../base/end-all.ts';
import {asTowlineError, EXIT_CODE, TowlineError, worstExitCode} from '../base/errors.ts';
import {loadAgentConfig} from '../config/load-config.ts';
import {readBootId} from '../linux/boot-id.ts';
import {closeFd} from '../linux/open-fd.ts';
import {showPath} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import {openActionLog, type ActionLog} from '../state/action-log.ts';
import {openAgentFile, type AgentFile, type LinkNotes} from '../state/agent-store.ts';
import {openJournalStore, type JournalStore} from '../state/journal-store.ts';
import {holdLock, volumeLockPath} from '../volume/lock.ts';
import {openRoot, readEpochMark} from '../volume/root-identity.ts';
import {logFolderOf} from './agent-records.ts';
import {volumePool} from './volume-jobs.ts';
import {volumeScope} from './volume-scopes.ts';

/** How a volume with an open journal came out of it. */
export interface RecoveredVolume {
  volume: string;
  /** Host path of its root, as shown; undefined when none is known. */
  path: string | undefined;
  /** Batches that were completed. */
  batches: number;
  /** Paths that are not as their batch wanted them, a sentence each. */
  problems: string[];
  /** Why its journal stays for later. */
  reason: string | undefined;
  exitCode: number;
}

export interface RecoverOutcome {
  volumes: RecoveredVolume[];
  exitCode: number;
}

/**
 * @returns one for each volume that had something open, none for an idle state
 * @throws LOCKED while an agent runs on this state; USAGE, REFUSED, SYSTEM
 */
export async function recoverAgent(
  options: {configFile: string; stateFolder: string | undefined},
  parts: {onNotice: (message: string) => void},
): Promise<RecoverOutcome> {
  const stateFolder = options.stateFolder ?? stateFolderOfConfig(options.configFile);
  const lockPath = join(stateFolder, 'lock');
  if (!existsSync(lockPath)) return {volumes: [], exitCode: 0}; // no agent has ever run on it
  const lock = holdLock(lockPath, `the state in ${stateFolder}`);
  const closers: (() => unknown)[] = [() => lock.release()];
  try {
    const names = journalledVolumes(stateFolder);
    if (names.length === 0) return {volumes: [], exitCode: 0};
    const file = openAgentFile({place: {folder: stateFolder}, bootId: readBootId()});
    closers.unshift(() => file.close());
    const actions = openActionLog(logFolderOf(stateFolder), {onNotice: parts.onNotice});
    closers.unshift(() => actions.close());
    const volumes: RecoveredVolume[] = [];
    for (const name of names) {
      const found = await recoverVolume(name, {stateFolder, file, actions});
      if (found !== undefined) volumes.push(found);
    }
    return {volumes, exitCode: worstExitCode(volumes.map(({exitCode}) => exitCode))};
  } finally {
    await endAll(closers);
  }
}

function stateFolderOfConfig(file: string): string {
  return loadAgentConfig({file, stateFolder: undefined, env: process.env}).stateFolder;
}

/** Whatever the configuration says by now: a volume that was taken out of it may have been half done. */
function journalledVolumes(stateFolder: string): string[] {
  const folder = join(stateFolder, 'volumes');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, 'target', 'journal.db')))
    .toSorted();
}

interface OfAgent {
  stateFolder: string;
  file: AgentFile;
  actions: ActionLog;
}

/** @returns undefined when nothing was open; what keeps one volume from it keeps no other */
async function recoverVolume(name: string, of: OfAgent): Promise<RecoveredVolume | undefined> {
  const outcome: RecoveredVolume = {
    ...{volume: name, path: undefined, batches: 0, problems: [], reason: undefined, exitCode: 0},
  };
  const failed = (error: unknown): Partial<RecoveredVolume> => {
    const {code, message} = asTowlineError(error);
    return {reason: message, exitCode: EXIT_CODE[code]};
  };
  const closers: (() => unknown)[] = [];
  let done: Partial<RecoveredVolume> | undefined;
  try {
    const notes = of.file.notes(volumeScope(name));
    const root = notes.rootIdentity();
    if (root !== undefined) outcome.path = showPath(root.path);
    const folder = join(of.stateFolder, 'volumes', name, 'target');
    const lock = holdLock(join(folder, 'lock'), `the state in ${folder}`);
    closers.unshift(() => lock.release());
    const journal = openJournalStore({place: {folder}, bootId: readBootId()});
    closers.unshift(() => journal.close());
    done = await recoverJournal(name, {journal, root, notes, actions: of.actions});
  } catch (error) {
    done = failed(error);
  }
  await endAll(closers).catch((error: unknown) => (done = {...done, ...failed(error)}));
  return done && {...outcome, ...done};
}

/** @throws HALTED when the root is missing, another, or the source; LOCKED while another process writes to it; SYSTEM */
async function recoverJournal(
  volume: string,
  parts: {journal: JournalStore; root: RootIdentity | undefined; notes: LinkNotes; actions: ActionLog},
): Promise<Partial<RecoveredVolume> | undefined> {
  const {journal, root, notes, actions} = parts;
  const [first] = journal.pending();
  if (first === undefined) return undefined;
  const {options, places, peer = ''} = decodeJournal(first.body);
  if (options === undefined || places === undefined) {
    const reason = 'it is of an older version; the agent completes it when its peer connects';
    return {exitCode: EXIT_CODE.SYSTEM, reason};
  }
  if (root === undefined) return {exitCode: EXIT_CODE.HALTED, reason: 'the state does not know its root any more'};
  const {decided} = notes.role();
  const isSource = decided !== undefined && decided.source === null;
  const onDestroyed = (found: DestroyedAction[]): void => {
    for (const action of found) actions.note({...action, volume, peer});
    actions.flush();
  };
  const {batches, problems} = await recoverAt(root, {volume, isSource, places, journal, onDestroyed});
  return {exitCode: problems.length > 0 ? 1 : 0, batches, problems};
}

interface RecoverAt {
  volume: string;
  /** By what was decided; the folder's own mark is asked too, as the state may be older. */
  isSource: boolean;
  places: JournalPlaces;
  journal: JournalStore;
  onDestroyed: (actions: DestroyedAction[]) => void;
}

async function recoverAt(root: RootIdentity, {volume, isSource, places, ...parts}: RecoverAt): Promise<RolledForward> {
  const {fd} = openRoot(root.path, root);
  try {
    if (isSource || readEpochMark(fd)?.isSource === true) {
      const message = 'it is the source now; its journal is of the time when it was received';
      throw new TowlineError('HALTED', message, {kind: 'epoch', volume, count: 0, limit: 0});
    }
  } finally {
    closeFd(fd);
  }
  const lock = holdLock(volumeLockPath(root), showPath(root.path));
  const pool = volumePool('towline recover', {root, places});
  try {
    return await rollForward({...parts, jobs: pool, clock});
  } finally {
    await endAll([() => pool.close(), () => lock.release()]);
  }
}
