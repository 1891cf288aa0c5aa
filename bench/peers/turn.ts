/**
 * One tool's turn: two hosts, an sshd, a fresh filesystem for its copies, all cases one after the other, and then nothing
 * of it is left, whatever went wrong.
 *
 * Invariant: a case that failed is words, and so are those that build on it.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {makeNetwork} from '../../test/hosts/namespaces.ts';
import {removeTree} from '../../test/run-folders.ts';
import {type makeSsh, SSH_PORT} from '../agents/ssh.ts';
import {checkCopy, type FreshFilesystem, makeFilesystem, must} from '../sync/filesystems.ts';
import {arrived} from './attributes.ts';
import {KINDS, type ToolName} from './kinds.ts';
import {watchMemory} from './memory.ts';
import {FAILED, type Places, type Tool, Unable} from './tool.ts';
import {type SmallTree} from './tree.ts';

const FILESYSTEM_MIB = 2_048;
const GAP_MS_MIN = 1_200; // rsync and Unison compare whole seconds
const GAP_MS_STEP = 337; // what polls each second is met at every moment of it
const GAP_MS_MORE = 700;
const QUIET_MS = 1_500; // after a start: nothing of it is left for the first change
const NOTED_MS = 2_500; // what was changed last is on the target, and every tool has looked at it
const BUSY_MS_MAX = 10_000;
const WORDS_CHARS = 400;

export type Case = 'small' | 'large' | 'change' | 'hasty' | 'rename' | 'restart';

const FOLLOWING: readonly Case[] = ['change', 'rename', 'hasty'];

/** What is measured, by the name of its row. */
export interface Found {
  ms(row: string, ms: number): void;
  megabytes(row: string, bytes: number): void;
  /** Yes or no. */
  fact(row: string, isTrue: boolean): void;
  words(row: string, why: string): void;
}

export interface Plan {
  cases: ReadonlySet<Case>;
  /** Folders `small` and `large` are in there. */
  source: string;
  tree: SmallTree;
  /** Of one file each; with the least wait it is half of them. */
  changes: number;
  caseMsMax: number;
}

export async function takeTurn(
  name: ToolName,
  plan: Plan,
  {base, ssh, record, found}: {base: string; ssh: ReturnType<typeof makeSsh>; record: Places['record']; found: Found},
): Promise<void> {
  const network = makeNetwork(2);
  const [here, there] = network.hosts as [Places['here'], Places['there']];
  const filesystem = makeFilesystem({sizeMiB: FILESYSTEM_MIB});
  const sourceState = join(base, name);
  const targetState = join(filesystem.path, 'agent');
  for (const folder of [sourceState, targetState, ...copiesIn(filesystem.path)]) mkdirSync(folder, {recursive: true});
  const endSsh = await ssh.start(there);
  const places = {
    ...{source: plan.source, target: filesystem.path, sourceState, targetState, here, there},
    ...{shell: ssh.shell(SSH_PORT), record: masked(record, {...plan, base, target: filesystem.path, host: there.ipv4})},
  };
  try {
    await runCases(name, plan, places, found);
  } finally {
    await endSsh();
    network.close();
    await removeWhenFree(filesystem);
    removeTree(sourceState);
    for (const volume of ['small', 'large']) removeTree(join(plan.source, volume, '.stfolder')); // Syncthing's mark
  }
}

function copiesIn(target: string): string[] {
  return ['small', 'large'].map((volume) => join(target, volume));
}

/** What is recorded is the same on every machine. */
function masked(
  record: Places['record'],
  {base, source, target, host}: Record<'base' | 'source' | 'target' | 'host', string>,
): Places['record'] {
  const masks = {[source]: 'SOURCE', [target]: 'TARGET', [base]: 'STATE', [host]: 'HOST'};
  return (text) => record(Object.entries(masks).reduce((done, [from, to]) => done.replaceAll(from, to), text));
}

/** The kernel lets go of killed processes a little later. */
async function removeWhenFree(filesystem: FreshFilesystem): Promise<void> {
  for (const endMs = performance.now() + BUSY_MS_MAX; ; await sleep(100)) {
    try {
      filesystem.remove();
      return;
    } catch (error) {
      if (performance.now() > endMs) throw error;
    }
  }
}

async function runCases(name: ToolName, plan: Plan, places: Places, found: Found): Promise<void> {
  const {cases, tree, changes} = plan;
  const [small, large] = copiesIn(places.target) as [string, string];
  const tool = KINDS[name].make(places);
  /** @param rows what cannot be measured when it fails */
  const attempt = async (rows: readonly Case[], run: () => Promise<void>): Promise<boolean> => {
    must('sync');
    try {
      await within(plan.caseMsMax, run);
      return true;
    } catch (error) {
      for (const row of rows) if (row === 'small' || cases.has(row)) found.words(row, wordsOf(error));
      return false;
    }
  };
  const react = (): Promise<void> => tool.afterChange('small');
  const changeMany = async (row: Case, count: number): Promise<void> => {
    await sleep(QUIET_MS);
    for (let index = 0; index < count; index++) {
      await sleep(GAP_MS_MIN + ((index * GAP_MS_STEP) % GAP_MS_MORE));
      found.ms(row, await tree.change(small, react));
    }
  };
  const renameOne = async (): Promise<void> => {
    await sleep(QUIET_MS);
    found.ms('rename', await tree.rename(small, react));
  };
  const changeHastily = async (): Promise<void> => {
    await tool.follow('small', 'hasty');
    await changeMany('hasty', Math.ceil(changes / 2));
  };
  const restart = async (): Promise<void> => {
    await tool.stop();
    must('sync');
    found.ms('restart', await timed(() => tool.catchUp('small')));
  };
  const copyLarge = async (): Promise<void> => {
    const ms = await timed(() => tool.firstCopy('large'));
    checkCopy(join(plan.source, 'large'), large, 'content');
    found.ms('large', ms);
  };
  try {
    if (!(await attempt(['small', ...FOLLOWING, 'restart', 'large'], () => copySmall(tool, plan, places, found))))
      return;
    if (FOLLOWING.some((what) => cases.has(what))) {
      const isLive = await attempt(FOLLOWING, () => tool.follow('small', 'usual'));
      if (isLive && cases.has('change')) await attempt(['change'], () => changeMany('change', changes));
      if (isLive && cases.has('rename')) await attempt(['rename'], renameOne);
      if (isLive && cases.has('hasty')) await attempt(['hasty'], changeHastily);
      await sleep(NOTED_MS);
      if (isLive) found.fact('equal', isEqual(join(plan.source, 'small'), small));
    }
    if (cases.has('restart')) await attempt(['restart'], restart);
    if (cases.has('large')) await attempt(['large'], copyLarge);
  } finally {
    await tool.stop();
  }
}

async function copySmall(tool: Tool, {source}: Plan, places: Places, found: Found): Promise<void> {
  const [from, copy] = [join(source, 'small'), join(places.target, 'small')];
  const peaksUntilNow = watchMemory({source: places.here, target: places.there});
  try {
    await tool.start();
    const ms = await timed(() => tool.firstCopy('small'));
    const peaks = peaksUntilNow();
    checkCopy(from, copy, 'content');
    found.ms('small', ms);
    for (const end of ['source', 'target'] as const) found.megabytes(`memory ${end}`, peaks[end]);
    for (const [name, isThere] of Object.entries(arrived(from, copy))) found.fact(name, isThere);
  } finally {
    peaksUntilNow();
  }
}

function isEqual(source: string, copy: string): boolean {
  try {
    checkCopy(source, copy, 'content');
    return true;
  } catch (error) {
    process.stderr.write(`${String(error)}\n`);
    return false;
  }
}

async function within(msMax: number, run: () => Promise<void>): Promise<void> {
  const over = new AbortController();
  const tooLong = sleep(msMax, undefined, {signal: over.signal}).then(() => {
    throw new Unable(`was not done after ${msMax / 1_000} s`);
  });
  tooLong.catch(() => {});
  try {
    await Promise.race([run(), tooLong]);
  } finally {
    over.abort();
  }
}

async function timed(run: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

function wordsOf(error: unknown): string {
  const text = error instanceof Unable ? error.message : `${FAILED}${String(error)}`;
  return text.replace(/\s+/g, ' ').slice(0, WORDS_CHARS);
}
