/**
 * The diagnosis from the first finding to the last: the host, what the configuration names, and what stands between
 * this agent and its peers. Asks a running agent nothing, and changes nothing.
 *
 * Invariant: whatever hangs costs one deadline, and is itself a finding.
 */
import {join} from 'node:path';
import type {Clock} from '../../base/clock.ts';
import {isTowlineError, type TowlineError} from '../../base/errors.ts';
import type {AgentConfig, EngineConfig, VolumeConfig} from '../../config/agent-config.ts';
import {showAddress, type Address} from '../../model/address.ts';
import type {Identity} from '../../transport/identity.ts';
import {RESERVED_NAME} from '../../volume/places.ts';
import {examineFolder, type ExaminedFolder} from './examine-folder.ts';
import {finding, type Finding} from './finding.ts';
import {judgeEngine, type EngineFacts} from './judge-engines.ts';
import {judgeNesting, judgeState, judgeVolume, type VolumeRole} from './judge-folder.ts';
import {judgeHost} from './judge-host.ts';
import {judgePeer, judgePort} from './judge-network.ts';
import {judgeWatches} from './judge-watch.ts';
import {readHost, readWatchLimits} from './read-host.ts';
import {readPeer, readPort} from './read-network.ts';

const DEADLINE_MS = 5_000;
const COUNT_MS = 3_000; // of the deadline above; a million directories take about 1 s
const AT_ONCE_MAX = 4; // each costs a process or a connection, and there may be hundreds of volumes

export interface ExamineParts {
  /** @throws TowlineError USAGE */
  loadConfig(): AgentConfig | Promise<AgentConfig>;
  /** Of the state folder; undefined when there is none yet. @throws TowlineError when it cannot be used */
  loadIdentity(stateFolder: string): Identity | undefined | Promise<Identity | undefined>;
  /**
   * The host path of a volume's root, as text, and the folder of an engine's volume that holds it.
   * @throws TowlineError ROOT_MISSING, SYSTEM, USAGE
   */
  findRoot(address: Address, config: AgentConfig): Promise<{path: string; beside: string | undefined}>;
  /** What an engine answers to a GET, bounded. @throws TowlineError SYSTEM */
  askEngine(engine: EngineConfig, path: string): Promise<{status: number; body: Buffer}>;
  clock: Clock;
  /** Called as soon as it is found, the findings of one area after each other. */
  onFinding(finding: Finding): void;
}

/** @returns all findings, in the order in which they were told */
export async function examine(parts: ExamineParts): Promise<Finding[]> {
  const findings: Finding[] = [];
  const tell = (found: readonly Finding[]): void => {
    findings.push(...found);
    for (const one of found) parts.onFinding(one);
  };
  tell(judgeHost(readHost()));
  const config = await attempt(() => parts.loadConfig());
  if (isTowlineError(config)) {
    const fix = 'correct the file, then: towline config check';
    tell(faultsOf(config).map((what) => finding('configuration', 'bad', what, fix)));
    return findings;
  }
  tell([
    finding('configuration', 'ok', `${config.file}: volumes ${config.volumes.length}, peers ${config.peers.length}`),
  ]);
  tell(config.notices.map((what) => finding('configuration', 'note', what)));
  const state = await examineState(config, tell);
  await examineEngines(config, parts, tell);
  await examineVolumes(config, state, parts, tell);
  await examineNetwork(config, state, parts, tell);
  return findings;
}

/** A list has its heading first. */
function faultsOf({message}: TowlineError): string[] {
  const [heading = '', ...lines] = message.split('\n');
  return lines.length === 0 ? [heading] : lines;
}

type Tell = (found: readonly Finding[]) => void;

async function examineState({stateFolder}: AgentConfig, tell: Tell): Promise<ExaminedFolder> {
  const examined = await examineFolder({path: stateFolder, stateFolder, places: [], countMs: 0}, DEADLINE_MS);
  tell(judgeState(stateFolder, examined, process.geteuid?.() ?? 0));
  return examined;
}

async function examineEngines(config: AgentConfig, parts: ExamineParts, tell: Tell): Promise<void> {
  const needed = new Set(config.volumes.map(({at}) => (at.kind === 'path' ? undefined : at.engine)));
  const answers = await Promise.all(config.engines.map((engine) => readEngine(engine, parts)));
  config.engines.forEach((engine, index) => tell(judgeEngine(engine, answers[index]!, needed.has(engine.engine))));
}

async function readEngine(engine: EngineConfig, parts: ExamineParts): Promise<EngineFacts> {
  const answer = await attempt(() => inTime(parts.askEngine(engine, '/version')));
  if (answer === undefined) return {message: `${engine.socket} does not answer`, errno: 'ETIMEDOUT'};
  if (!isTowlineError(answer)) return {status: answer.status, body: answer.body.toString('utf8')};
  return {
    message: answer.message,
    errno: answer.code === 'SYSTEM' ? (answer as TowlineError<'SYSTEM'>).details.errno : '',
  };
}

interface ExaminedVolume {
  role: VolumeRole;
  examined: ExaminedFolder;
}

async function examineVolumes(
  config: AgentConfig,
  state: ExaminedFolder,
  parts: ExamineParts,
  tell: Tell,
): Promise<void> {
  const all: ExaminedVolume[] = [];
  await inGroups(
    config.volumes,
    async (volume) => examineVolume(volume, config, parts),
    (found) => {
      if ('area' in found) return tell([found]);
      all.push(found);
      tell(judgeVolume(found.role, found.examined));
    },
  );
  const roots = all.flatMap(({role, examined: {facts}}) =>
    facts === undefined ? [] : [{name: role.name, realPath: facts.realPath}],
  );
  tell(judgeNesting(roots, {path: config.stateFolder, realPath: state.facts?.realPath}));
  const trees = all.flatMap(({role, examined: {tree}}) => (tree === undefined || role.isPolled ? [] : [tree]));
  if (trees.length > 0) tell(judgeWatches(readWatchLimits(), trees));
}

async function examineVolume(
  volume: VolumeConfig,
  config: AgentConfig,
  parts: ExamineParts,
): Promise<ExaminedVolume | Finding> {
  const area = `volume ${volume.name}`;
  const root = await attempt(() => inTime(parts.findRoot(volume.at, config)));
  if (root === undefined) return finding(area, 'bad', `the engine does not tell where ${showAddress(volume.at)} is`);
  if (isTowlineError(root)) return finding(area, 'bad', root.message, rootFix(volume.at));
  const {stateFolder} = config;
  const places = root.beside === undefined ? [stateFolder] : [join(root.beside, RESERVED_NAME), stateFolder];
  const isPolled = volume.watch === 'chokidar';
  const role = {
    name: volume.name,
    path: root.path,
    sends: volume.send.length > 0,
    receives: volume.receive !== undefined,
    accept: volume.accept,
    isPolled,
  };
  const request = {path: root.path, stateFolder, places, countMs: isPolled ? 0 : COUNT_MS};
  return {role, examined: await examineFolder(request, DEADLINE_MS)};
}

function rootFix(at: Address): string | undefined {
  switch (at.kind) {
    case 'path':
      return undefined;
    case 'volume':
      return `${at.engine} volume ls; ${at.engine} volume create ${at.volume}`;
    case 'container':
      return `${at.engine} ps -a; ${at.engine} inspect ${at.container}`;
  }
}

async function examineNetwork(
  config: AgentConfig,
  state: ExaminedFolder,
  parts: ExamineParts,
  tell: Tell,
): Promise<void> {
  const identity = await examineIdentity(config, state, parts, tell);
  const limits = {deadlineMs: DEADLINE_MS, clock: parts.clock};
  const port = config.listen === undefined ? undefined : await readPort(config.listen, identity, limits);
  tell([judgePort(config.listen, port)]);
  await inGroups(
    config.peers,
    async (peer) => ({peer, facts: identity === undefined ? undefined : await readPeer(peer, identity, limits)}),
    ({peer, facts}) => tell(judgePeer(peer, facts, config.listen)),
  );
}

async function examineIdentity(
  {stateFolder}: AgentConfig,
  state: ExaminedFolder,
  parts: ExamineParts,
  tell: Tell,
): Promise<Identity | undefined> {
  if (state.fault === 'TIMEOUT') return undefined; // said already; whoever reads there waits too
  const loaded = await attempt(() => parts.loadIdentity(stateFolder));
  if (isTowlineError(loaded)) {
    tell([finding('identity', 'bad', loaded.message)]);
    return undefined;
  }
  if (loaded === undefined) tell([finding('identity', 'bad', 'this agent has no identity yet', 'towline init')]);
  else tell([finding('identity', 'ok', `this agent is ${loaded.id}`)]);
  return loaded;
}

/** Some at a time, told in the order of the list. */
async function inGroups<T, R>(
  items: readonly T[],
  look: (item: T) => Promise<R>,
  told: (result: R) => void,
): Promise<void> {
  for (let from = 0; from < items.length; from += AT_ONCE_MAX) {
    for (const result of await Promise.all(items.slice(from, from + AT_ONCE_MAX).map(look))) told(result);
  }
}

/** A TowlineError as a value: here it is a finding. */
async function attempt<T>(call: () => T | Promise<T>): Promise<T | TowlineError> {
  try {
    return await call();
  } catch (error) {
    if (isTowlineError(error) && error.code !== 'BUG') return error;
    throw error;
  }
}

/** Undefined when it takes longer than the deadline; what comes then is nobody's. */
async function inTime<T>(work: Promise<T>): Promise<T | undefined> {
  const {promise: late, resolve} = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), DEADLINE_MS);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
