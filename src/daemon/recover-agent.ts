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
import {EXIT_CODE, isTowlineError, messageOf, worstExitCode} from '../base/errors.ts';
import {loadAgentConfig} from '../config/load-config.ts';
import {readBootId} from '../linux/boot-id.ts';
import {closeFd} from '../linux/open-fd.ts';
import {showPath} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import {openActionLog, type ActionLog} from '../state/action-log.ts';
import {openAgentFile, type AgentFile} from '../state/agent-store.ts';
import {openJournalStore, type JournalStore} from '../state/journal-store.ts';
import {holdLock, volumeLockPath} from '../volume/lock.ts';
import {openRoot} from '../volume/root-identity.ts';
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
  const opened: {close(): void}[] = [];
  try {
    const names = journalledVolumes(stateFolder);
    if (names.length === 0) return {volumes: [], exitCode: 0};
    const file = openAgentFile({place: {folder: stateFolder}, bootId: readBootId()});
    opened.push(file);
    const actions = openActionLog(logFolderOf(stateFolder), {onNotice: parts.onNotice});
    opened.push(actions);
    const volumes: RecoveredVolume[] = [];
    for (const name of names) {
      const found = await recoverVolume(name, {stateFolder, file, actions});
      if (found !== undefined) volumes.push(found);
    }
    return {volumes, exitCode: worstExitCode(volumes.map(({exitCode}) => exitCode))};
  } finally {
    for (const store of opened.reverse()) store.close();
    lock.release();
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

/** @returns undefined when nothing was open */
async function recoverVolume(
  name: string,
  {stateFolder, file, actions}: OfAgent,
): Promise<RecoveredVolume | undefined> {
  const folder = join(stateFolder, 'volumes', name, 'target');
  const root = file.notes(volumeScope(name)).rootIdentity();
  const path = root === undefined ? undefined : showPath(root.path);
  const told = (exitCode: number, done: Partial<RecoveredVolume>): RecoveredVolume => ({
    volume: name,
    path,
    batches: 0,
    problems: [],
    reason: undefined,
    ...done,
    exitCode,
  });
  let journal: JournalStore | undefined;
  const lock = holdLock(join(folder, 'lock'), `the state in ${folder}`);
  try {
    journal = openJournalStore({place: {folder}, bootId: readBootId()});
    const [first] = journal.pending();
    if (first === undefined) return undefined;
    const {options, places, peer = ''} = decodeJournal(first.body);
    if (options === undefined || places === undefined)
      return told(EXIT_CODE.SYSTEM, {
        reason: 'it is of an older version; the agent completes it when its peer connects',
      });
    if (root === undefined) return told(EXIT_CODE.HALTED, {reason: 'the state does not know its root any more'});
    const onDestroyed = (found: DestroyedAction[]): void => {
      for (const action of found) actions.note({...action, volume: name, peer});
      actions.flush();
    };
    const done = await recoverAt(root, {places, journal, onDestroyed});
    return told(done.problems.length > 0 ? 1 : 0, {batches: done.batches, problems: done.problems});
  } catch (error) {
    if (!isTowlineError(error) || error.code === 'BUG') throw error;
    return told(EXIT_CODE[error.code], {reason: messageOf(error)});
  } finally {
    journal?.close();
    lock.release();
  }
}

/** @throws HALTED when the root is missing or another, LOCKED while another process writes to it, SYSTEM */
async function recoverAt(
  root: RootIdentity,
  parts: {places: JournalPlaces; journal: JournalStore; onDestroyed: (actions: DestroyedAction[]) => void},
): Promise<RolledForward> {
  const {places, ...rest} = parts;
  closeFd(openRoot(root.path, root).fd);
  const lock = holdLock(volumeLockPath(root), showPath(root.path));
  const pool = volumePool('towline recover', {root, places});
  try {
    return await rollForward({...rest, jobs: pool, clock});
  } finally {
    await pool.close();
    lock.release();
  }
}
