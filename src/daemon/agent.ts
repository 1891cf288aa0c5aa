/**
 * The agent as a process: opens its state, starts what the configuration says, answers on its socket, ends in order.
 *
 * The composition root of `towline agent`. Invariants: one agent for one state folder; it says that it is ready only
 * when it listens, its state is open and it can be asked; whatever ends it, everything that it opened is closed.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {endAll} from '../base/end-all.ts';
import {systemClock as clock} from '../base/clock.ts';
import {messageOf, TowlineError} from '../base/errors.ts';
import type {AgentConfig} from '../config/agent-config.ts';
import {loadAgentConfig} from '../config/load-config.ts';
import type {RunOutcome} from '../control/agent-api.ts';
import {openEngines} from '../engine/engines.ts';
import {serveControl} from '../http/control-server.ts';
import {controlSocketOf} from '../http/socket-path.ts';
import {readBootId} from '../linux/boot-id.ts';
import {shareArenas} from '../linux/malloc.ts';
import {notifySystemd, reloadingFields, watchdogIntervalMs} from '../linux/notify.ts';
import {openActionLog} from '../state/action-log.ts';
import {openAgentFile, type AgentFile} from '../state/agent-store.ts';
import {prepareFolder} from '../state/state-files.ts';
import type {LogPort} from '../telemetry/log.ts';
import {loadOrCreateIdentity} from '../transport/identity-file.ts';
import {holdLock} from '../volume/lock.ts';
import {agentControl, once} from './agent-control.ts';
import {AgentCore} from './agent-core.ts';
import {logFolderOf} from './agent-records.ts';
import type {SyncEvent} from './sync-api.ts';
import {sharedVolumePool} from './volume-jobs.ts';

export interface AgentOptions {
  configFile: string;
  stateFolder: string | undefined;
}

export interface AgentRunParts {
  onEvent(event: SyncEvent & {volume: string; peer: string}): void;
  signal: AbortSignal;
  log: LogPort;
  version: string;
}

const FLUSH_MS = 300;
const CHANGE_MS = 100; // who watches is told ten times a second at most

/** Runs until the signal is aborted. @throws TowlineError for what is found before it is ready */
export async function runAgent(options: AgentOptions, parts: AgentRunParts): Promise<{exitCode: number}> {
  const running = await startAgent(options, parts);
  const {log, signal} = parts;
  const onReload = (): void => void running.reload();
  process.on('SIGHUP', onReload);
  const watchdog = startWatchdog();
  notifySystemd(`READY=1\nSTATUS=${running.summary()}`);
  log.info('ready', {listen: running.core.listening, volumes: running.core.volumes.size, pid: process.pid});
  try {
    await aborted(signal);
  } finally {
    notifySystemd('STOPPING=1');
    log.info('stopping');
    process.off('SIGHUP', onReload);
    clearInterval(watchdog);
    await running.stop();
  }
  return {exitCode: 0};
}

/** One catch-up of the named volumes, of all when none is named, without an agent that goes on. */
export async function onceStandalone(
  options: AgentOptions & {volumes: string[]; timeoutMs: number},
  parts: AgentRunParts,
): Promise<RunOutcome> {
  const startMs = clock.monotonicMs();
  const running = await startAgent(options, parts, options.volumes);
  try {
    const volumes = running.core.allVolumes();
    const done = once(running.core, volumes, options.timeoutMs - (clock.monotonicMs() - startMs));
    const outcome = await Promise.race([done, aborted(parts.signal)]);
    if (outcome !== undefined) return outcome;
    throw new TowlineError('CANCELLED', 'stopped before it was done', {signal: 'SIGINT'});
  } finally {
    await running.stop();
  }
}

interface RunningAgent {
  core: AgentCore;
  /** One line for systemctl status. */
  summary(): string;
  reload(): Promise<void>;
  stop(): Promise<void>;
}

/** @param only volumes to be served; all when it is left out or empty. @throws TowlineError */
async function startAgent(
  options: AgentOptions,
  parts: AgentRunParts,
  only: readonly string[] = [],
): Promise<RunningAgent> {
  shareArenas();
  const {log} = parts;
  const load = (): AgentConfig =>
    onlyVolumes(loadAgentConfig({file: options.configFile, stateFolder: options.stateFolder, env: process.env}), only);
  const config = load();
  for (const notice of config.notices) log.warn(notice);
  const {stateFolder} = config;
  const closers: (() => unknown)[] = [];
  const closeAll = (): Promise<void> => endAll(closers.reverse());
  try {
    prepareFolder(stateFolder);
    mkdirSync(join(stateFolder, 'volumes'), {recursive: true, mode: 0o700});
    const lock = holdLock(join(stateFolder, 'lock'), `the state in ${stateFolder}`);
    closers.push(() => lock.release());
    const file = openAgentFile({place: {folder: stateFolder}, bootId: readBootId()});
    closers.push(() => file.close());
    closers.push(flushSoon(file, log));
    const identity = await loadOrCreateIdentity(stateFolder);
    const actions = openActionLog(logFolderOf(stateFolder), {onNotice: (message) => log.warn(message)});
    closers.push(() => actions.close());
    const engines = openEngines(config.engines, {clock});
    closers.push(() => engines.close());
    const pool = sharedVolumePool({workers: config.limits.workers});
    closers.push(() => pool.close());
    const listeners = new Set<() => void>();
    const onChange = atMostEvery(CHANGE_MS, () => listeners.forEach((listener) => listener()));
    let reloadSoon = (): void => undefined;
    const onPaired = (): void => reloadSoon();
    const core = new AgentCore(config, {
      clock,
      log,
      file,
      engines,
      pool,
      actions,
      identity,
      onChange,
      onPaired,
      onEvent: (event) => parts.onEvent(event),
    });
    closers.push(() => core.stop());
    const control = agentControl({core, startedMs: clock.nowMs(), version: parts.version, load, listeners});
    const server = await serveControl({socketPath: controlSocketOf(stateFolder), control, log});
    closers.push(() => server.close());
    await core.apply(config); // who can dial it can ask it, too
    const reload = async (): Promise<void> => {
      notifySystemd(reloadingFields());
      try {
        const told = await control.reload();
        for (const notice of core.config.notices) log.warn(notice);
        log.info('configuration read again', {changes: told.join('; ') || 'none'});
      } catch (error) {
        log.error(`the configuration is not taken, the old one stays: ${messageOf(error)}`);
      }
      notifySystemd(`READY=1\nSTATUS=${summaryOf(core)}`);
    };
    reloadSoon = () => void reload();
    return {core, summary: () => summaryOf(core), reload, stop: closeAll};
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** @throws USAGE for a volume that is not configured */
function onlyVolumes(config: AgentConfig, only: readonly string[]): AgentConfig {
  if (only.length === 0) return config;
  for (const name of only) {
    if (config.volumes.some((volume) => volume.name === name)) continue;
    const hint = `configured are ${config.volumes.map((volume) => volume.name).join(', ') || 'none'}`;
    throw new TowlineError('USAGE', `there is no volume ${JSON.stringify(name)}; ${hint}`, {hint});
  }
  return {...config, volumes: config.volumes.filter(({name}) => only.includes(name))};
}

function summaryOf(core: AgentCore): string {
  const links = core.allVolumes().flatMap((volume) => volume.report().links);
  const inSync = links.filter(({state}) => state === 'in-sync').length;
  return `${core.volumes.size} volumes, ${inSync} of ${links.length} links in sync`;
}

/** What is noted does not wait long for the disk, and keeps no other process from reading it. @returns ends it */
function flushSoon(file: AgentFile, log: LogPort): () => void {
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    timer = undefined;
    try {
      file.flush();
    } catch (error) {
      log.error(`what links are about cannot be noted: ${messageOf(error)}`);
      soon();
    }
  };
  const soon = (): void => void (timer ??= setTimeout(flush, FLUSH_MS));
  file.onBegin = soon;
  return () => clearTimeout(timer);
}

/** The control loop's own turn feeds the watchdog: a process that hangs does not. */
function startWatchdog(): NodeJS.Timeout | undefined {
  const intervalMs = watchdogIntervalMs();
  if (intervalMs === undefined) return undefined;
  return setInterval(() => notifySystemd('WATCHDOG=1'), intervalMs / 2);
}

function atMostEvery(ms: number, tell: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  return () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      tell();
    }, ms).unref();
  };
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), {once: true});
  });
}
