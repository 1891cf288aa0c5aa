/**
 * Opens the state of one end of a link: three files in a folder of its own, locked, and the root that it belongs to.
 *
 * A damaged file is set aside and made anew: its content is only a memory of what can be read again. Invariant: a root
 * that is not the one in the state is never worked on.
 */
import {join} from 'node:path';
import {asTowlineError, isTowlineError, type HaltKind, type TowlineError} from '../base/errors.ts';
import {readBootId} from '../linux/boot-id.ts';
import {closeFd} from '../linux/open-fd.ts';
import {fromText} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import type {Side} from '../model/tree.ts';
import type {View} from '../model/view.ts';
import {openAgentFile, type LinkNotes} from '../state/agent-store.ts';
import {openJournalStore, type JournalStore} from '../state/journal-store.ts';
import {prepareFolder, setAside} from '../state/state-files.ts';
import {openVolumeStore, type VolumeStore} from '../state/volume-store.ts';
import {holdLock, type HeldLock} from '../volume/lock.ts';
import {ensureMark, identityOf, openRoot} from '../volume/root-identity.ts';

interface Store {
  readonly isSuspect: boolean;
  close(): void;
}

/** Halts that a look at the root itself settles. */
const ROOT_HALTS: readonly HaltKind[] = ['root-missing', 'root-replaced', 'root-mark-missing'];

const REST_EVERY_MS = 60_000;

export interface OpenStateOptions {
  folder: string;
  side: Side;
  /** Undefined: the one of the last time, until the link is opened. */
  view?: View | undefined;
  /** Host path of the root, as text. */
  rootPath: string;
  /** Whether what is noted of the volume waits for the disk; halts and the journal always do. */
  isDurable: boolean;
  /** A dry run leaves no mark on the root. */
  isDryRun: boolean;
  /** Notes in a file that the caller keeps open; else the folder gets an `agent.db` of its own. */
  agent?: LinkNotes;
  onNotice: (message: string) => void;
}

export interface OpenState {
  folder: string;
  agent: LinkNotes;
  volume: VolumeStore;
  /** Opened when it is first asked for: a source has none. */
  readonly journal: JournalStore;
  root: RootIdentity;
  /** Whether the root was never seen before with this state. */
  isFirstContact: boolean;
  /** Takes note of what ended the work on it: where the state itself may be the reason it is made anew the next time. */
  endedBy(error: unknown): void;
  close(): void;
}

/** @throws TowlineError HALTED, ROOT_MISSING, LOCKED, STATE_NEWER, SYSTEM, REFUSED */
export function openState(options: OpenStateOptions): OpenState {
  const {folder, side, view} = options;
  prepareFolder(folder);
  const lock: HeldLock = holdLock(join(folder, 'lock'), `the state in ${folder}`);
  const opened: {close(): void}[] = [];
  const open = <S extends Store>(file: string, make: () => S): S => {
    const store = orAside(options, file, make);
    opened.push({close: () => closeOrAside(options, file, store)});
    return store;
  };
  const close = (): void => {
    const store = opened.pop();
    if (store === undefined) return lock.release();
    try {
      store.close();
    } finally {
      close(); // whatever became of that one: what stays open could not be opened again
    }
  };
  try {
    const bootId = readBootId();
    const place = {folder};
    const agent = options.agent ?? open('agent.db', () => openAgentFile({place, bootId})).notes('');
    const known = agent.rootIdentity();
    const root = recogniseOrHalt(options, agent, known);
    if (!options.isDryRun) agent.setRootIdentity(root);
    const volume = open('volume.db', () => openVolumeStore({place, side, view, bootId, isDurable: options.isDurable}));
    if (volume.doubtedCount > 0) options.onNotice(doubted(volume.doubtedCount));
    opened.push(resting(volume));
    let journal: JournalStore | undefined;
    return {
      folder,
      agent,
      volume,
      get journal() {
        return (journal ??= open('journal.db', () => openJournalStore({place, bootId})));
      },
      root,
      isFirstContact: known === undefined,
      endedBy: (error) => {
        if (isBug(error)) volume.suspect();
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** A root that is not the known one is noted, so that the operator can say that it is right; a known one ends that. */
function recogniseOrHalt(options: OpenStateOptions, agent: LinkNotes, known: RootIdentity | undefined): RootIdentity {
  try {
    const root = recognise(options, known);
    if (!options.isDryRun && ROOT_HALTS.includes(agent.haltOf()?.kind ?? 'disk-full')) agent.clearHalt();
    return root;
  } catch (error) {
    if (!options.isDryRun && isTowlineError(error) && error.code === 'HALTED') {
      const {kind, count, limit} = (error as TowlineError<'HALTED'>).details;
      agent.halt({kind, count, limit, message: error.message, sinceMs: Date.now()});
    }
    throw error;
  }
}

function recognise(options: OpenStateOptions, known: RootIdentity | undefined): RootIdentity {
  const path = fromText(options.rootPath);
  const {fd, identity} = openRoot(path, known === undefined ? undefined : {...known, path});
  try {
    if (known !== undefined || options.isDryRun) return identity;
    ensureMark(fd);
    return identityOf(fd, path);
  } finally {
    closeFd(fd);
  }
}

function orAside<S>(options: OpenStateOptions, file: string, make: () => S): S {
  try {
    return make();
  } catch (error) {
    if (!isTowlineError(error) || error.code !== 'STATE_DAMAGED') throw error;
    putAside(options, file, error.message);
    return make();
  }
}

/** What was found damaged while it was open is read anew the next time. */
function closeOrAside(options: OpenStateOptions, file: string, store: Store): void {
  try {
    store.close();
  } finally {
    if (store.isSuspect) putAside(options, file, `${join(options.folder, file)} may be damaged`);
  }
}

/** A bug of ours: what a volume's state says may have made it show. A file that was found damaged knows that itself. */
function isBug(error: unknown): boolean {
  return asTowlineError(error).code === 'BUG';
}

function putAside(options: OpenStateOptions, file: string, why: string): void {
  const aside = setAside({folder: options.folder, file, nowMs: Date.now()});
  options.onNotice(`${why}; it was set aside as ${aside} and is made anew by reading both sides`);
}

function doubted(count: number): string {
  return `the machine was started again: ${count} file(s) that had changed in the minutes before it went down are read once more, as a power cut may have taken back what they held`;
}

/** Has the volume note, while it is open, that it rests. */
function resting(volume: VolumeStore): {close(): void} {
  const timer = setInterval(() => {
    try {
      volume.rest();
    } catch {
      // The next commit fails as well, and says why; what is noted too seldom only makes more to be read.
    }
  }, REST_EVERY_MS);
  timer.unref();
  return {close: () => clearInterval(timer)};
}
