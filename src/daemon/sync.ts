/**
 * `towline sync SRC DST`: both ends in one process, over a loopback WebSocket with throw-away identities.
 *
 * The composition root of that command. Invariant: whatever ends the run, both ends are closed and the outcome says why.
 */
import {existsSync, mkdirSync, realpathSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import {defaultStateFolder} from '../config/sync-options.ts';
import {sha256} from '../model/digest.ts';
import {shareArenas} from '../linux/malloc.ts';
import {closeFd} from '../linux/open-fd.ts';
import {fromText} from '../model/path.ts';
import {openAgentFile, type LinkNotes} from '../state/agent-store.ts';
import {openRoot} from '../volume/root-identity.ts';
import {prepareFolder} from '../state/state-files.ts';
import {dryRunCopy} from './dry-run.ts';
import {SourceRun} from './source-run.ts';
import type {ConfirmRequest, Halt, SyncOptions, SyncOutcome, SyncParts} from './sync-api.ts';

/** The pair's own folder, by where both folders really are. */
function pairFolder(source: string, target: string, stateFolder: string | undefined): string {
  const key = sha256(Buffer.from(JSON.stringify([realPathOf(source), realPathOf(target)])))
    .toString('hex')
    .slice(0, 24);
  return join(stateFolder ?? defaultStateFolder(), `sync-${key}`);
}

/** The real path, also of a folder that is not there (any more): its parent's, and its name. */
function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realPathOf(parent), basename(path));
  }
}

/** @throws TowlineError for what is found before anything runs */
export async function runSync(options: SyncOptions, parts: SyncParts): Promise<SyncOutcome> {
  shareArenas();
  const folder = pairFolder(options.source, options.target, options.stateFolder);
  const dryRun = options.isDryRun ? dryRunCopy(folder) : undefined;
  try {
    checkSource(options.source, join(dryRun?.folder ?? folder, 'source'));
    const isKnown = knowsRoot(join(dryRun?.folder ?? folder, 'target')); // looking into a state may write to it
    const target = isKnown ? options.target : (dryRun?.targetFor(options.target) ?? makeTarget(options.target));
    const asked = {...options, source: realPathOf(options.source), target: realPathOf(target)};
    const run = (): Promise<SyncOutcome> => new SourceRun(asked, dryRun?.folder ?? folder, parts).run();
    const outcome = await run();
    if (outcome.error?.code !== 'STATE_DAMAGED' || parts.signal.aborted) return outcome;
    // By now it is set aside: what it held is read again.
    parts.onEvent({kind: 'notice', level: 'warn', message: outcome.error.message});
    return await run();
  } finally {
    dryRun?.remove();
  }
}

/** Before anything is made: a source that is missing was either mistyped or, when it is known, is the guard's business. */
function checkSource(path: string, folder: string): void {
  if (existsSync(path) || knowsRoot(folder)) return;
  throw new TowlineError('ROOT_MISSING', `${path} does not exist; name an existing folder`, {path});
}

/** A target that was never synchronised may be made, one level, as other tools do. @returns its path */
function makeTarget(path: string): string {
  try {
    mkdirSync(path);
    return path;
  } catch (error) {
    const {code} = error as {code?: string};
    if (code === 'EEXIST') return path;
    const why = code === 'ENOENT' ? 'its parent folder does not exist' : messageOf(error);
    throw new TowlineError('ROOT_MISSING', `${path} cannot be made: ${why}`, {path}, {cause: error});
  }
}

function knowsRoot(folder: string): boolean {
  return withAgent(folder, (agent) => agent.rootIdentity() !== undefined) ?? false;
}

/** Looks into a state that may not exist; undefined then. */
function withAgent<T>(folder: string, look: (agent: LinkNotes) => T): T | undefined {
  try {
    realpathSync(join(folder, 'agent.db'));
  } catch {
    return undefined;
  }
  prepareFolder(folder);
  try {
    const file = openAgentFile({place: {folder}, bootId: '', isGlance: true});
    try {
      return look(file.notes(''));
    } finally {
      file.close();
    }
  } catch (error) {
    if (isTowlineError(error) && error.code === 'STATE_DAMAGED') return undefined; // the run sets it aside and says so
    throw error;
  }
}

/** Both ends: each notes what is wrong with its own root, the source's all other halts. */
const SIDES = ['source', 'target'] as const;

/** The halt of a pair, or undefined when it is not halted. */
export function readHalt(request: ConfirmRequest): Promise<Halt | undefined> {
  const folder = pairFolder(request.source, request.target, request.stateFolder);
  for (const side of SIDES) {
    const halt = withAgent(join(folder, side), (agent) => agent.haltOf());
    if (halt !== undefined) return Promise.resolve({kind: halt.kind, count: halt.count, message: halt.message});
  }
  return Promise.resolve(undefined);
}

/** Lets the next run go on. @throws REFUSED when the count is not the halt's */
export async function confirmHalt(request: ConfirmRequest & {count: number}): Promise<void> {
  const halt = await readHalt(request);
  if (halt === undefined) throw new TowlineError('REFUSED', 'nothing is halted', {reason: 'not halted'});
  if (halt.count !== request.count) {
    throw new TowlineError('REFUSED', `the halt is about ${halt.count}, not ${request.count}; look again`, {
      reason: 'count',
    });
  }
  const folder = pairFolder(request.source, request.target, request.stateFolder);
  for (const side of SIDES) {
    withAgent(join(folder, side), (agent) => {
      const noted = agent.haltOf();
      if (noted === undefined) return;
      if (side === 'source') agent.confirm(request.count);
      if (isAnotherRoot(agent, realPathOf(request[side]))) agent.forgetRoot();
      agent.clearHalt();
    });
  }
}

/** Whether there is a folder in the root's place, and it is not the known one. */
function isAnotherRoot(agent: LinkNotes, path: string): boolean {
  const known = agent.rootIdentity();
  if (known === undefined) return false;
  try {
    closeFd(openRoot(fromText(path), {...known, path: fromText(path)}).fd);
    return false;
  } catch (error) {
    if (!isTowlineError(error) || error.code !== 'HALTED') throw error;
    return (error as TowlineError<'HALTED'>).details.kind !== 'root-missing';
  }
}
