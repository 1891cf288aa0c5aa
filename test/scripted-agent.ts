/**
 * An agent as the control socket sees it: what it answers is set by the test, what it was asked is kept. The boundary
 * is `AgentControl`; socket, client and commands around it are the program's own.
 */
import {EventEmitter} from 'node:events';
import {TowlineError} from '../src/base/errors.ts';
import type {
  AgentControl,
  AgentReport,
  FollowPlan,
  HaltReport,
  LinkOutcome,
  LinkReport,
  PendingPage,
  RunOutcome,
  VerifyEvent,
  VerifyOutcome,
  VolumeReport,
} from '../src/control/agent-api.ts';

export const AGENT_ID = '3f2a91bc7d01ffee'.repeat(4);
export const NOW_MS = Date.UTC(2026, 10, 20, 13, 2, 11, 250);

export function linkOf(over: Partial<LinkReport> = {}): LinkReport {
  return {
    volume: 'pgdata',
    peer: 'db-2',
    direction: 'send',
    peerVolume: 'pgdata',
    state: 'in-sync',
    reason: undefined,
    inSyncAtMs: NOW_MS - 1_000,
    digest: '7d01'.repeat(16),
    pendingCount: 0,
    problemCount: 0,
    lagMs: 0,
    rateBytes: 0,
    sentBytes: 12_897_485,
    halt: undefined,
    ...over,
  };
}

export function haltOf(over: Partial<HaltReport> = {}): HaltReport {
  const message = '1,234 of 2,000 entries would be deleted';
  return {kind: 'delete-share', count: 1_234, limit: 1_000, message, sinceMs: NOW_MS - 60_000, ...over};
}

export function volumeOf(over: Partial<VolumeReport> = {}): VolumeReport {
  return {
    name: 'pgdata',
    address: 'docker:pgdata',
    path: '/var/lib/docker/volumes/pgdata/_data',
    entryCount: 1_234,
    isPaused: false,
    links: [linkOf()],
    reason: undefined,
    halt: undefined,
    staging: undefined,
    trash: undefined,
    notices: [],
    ...over,
  };
}

export function reportOf(over: Partial<AgentReport> = {}): AgentReport {
  return {
    name: 'web-1',
    id: AGENT_ID,
    version: '0.1.0',
    pid: 4_711,
    startedMs: NOW_MS - 3_600_000,
    nowMs: NOW_MS,
    listen: '[::]:7420',
    volumes: [volumeOf()],
    peers: [
      {
        name: 'db-2',
        id: 'ab'.repeat(32),
        address: 'db-2.internal:7420',
        isConnected: true,
        dialledBy: 'us',
        sinceMs: NOW_MS - 3_000_000,
        reason: undefined,
      },
    ],
    halt: undefined,
    ...over,
  };
}

export function linkOutcomeOf(over: Partial<LinkOutcome> = {}): LinkOutcome {
  return {
    volume: 'pgdata',
    peer: 'db-2',
    direction: 'send',
    exitCode: 0,
    reason: undefined,
    digest: '7d01'.repeat(16),
    problemCount: 0,
    problems: [],
    ...over,
  };
}

export function runOutcomeOf(over: Partial<RunOutcome> = {}): RunOutcome {
  return {exitCode: 0, links: [linkOutcomeOf()], ...over};
}

export class ScriptedAgent implements AgentControl {
  /** Every call that changes or runs something, in order. */
  readonly asked: unknown[][] = [];
  reported = reportOf();
  page: PendingPage = {volume: 'pgdata', problems: [], problemCount: 0, pendingCount: 0, next: undefined};
  outcome = runOutcomeOf();
  halted: {peer: string | undefined; halt: HaltReport}[] = [];
  /** What `follow` would do. */
  plan: FollowPlan | undefined;
  /** What `sync` does after it noted the request. */
  onSync: AgentControl['sync'] = () => Promise.resolve(this.outcome);
  /** What `verify` tells, and how it ends. */
  verifyEvents: VerifyEvent[] = [];
  verified: VerifyOutcome = {
    exitCode: 0,
    filesRead: 3,
    bytesRead: 4_096,
    corruptCount: 0,
    unreadableCount: 0,
    changedCount: 0,
    unknownCount: 0,
  };
  /** What `flush` and `once` wait for. */
  runs: Promise<unknown> = Promise.resolve();
  /** Thrown by every call that changes or runs something. */
  fault: Error | undefined;
  reportCount = 0;
  readonly #changes = new EventEmitter();

  report(volume?: string): AgentReport {
    this.reportCount++;
    if (volume === undefined) return this.reported;
    const volumes = this.reported.volumes.filter(({name}) => name === volume);
    if (volumes.length === 0) throw unknownVolume(volume);
    return {...this.reported, volumes};
  }

  /** Another report, told to whoever watches. */
  change(report: AgentReport): void {
    this.reported = report;
    this.#changes.emit('change');
  }

  get watcherCount(): number {
    return this.#changes.listenerCount('change');
  }

  onChange(listener: () => void): () => void {
    this.#changes.on('change', listener);
    return () => this.#changes.off('change', listener);
  }

  pending(query: {volume: string; after: string | undefined; countMax: number}): PendingPage {
    this.asked.push(['pending', query]);
    return this.page;
  }

  async flush(query: object): Promise<RunOutcome> {
    this.#note('flush', query);
    await this.runs;
    return this.outcome;
  }

  async once(query: object): Promise<RunOutcome> {
    this.#note('once', query);
    await this.runs;
    return this.outcome;
  }

  halts(volume: string): {peer: string | undefined; halt: HaltReport}[] {
    this.report(volume);
    return this.halted;
  }

  async confirm(request: object): Promise<void> {
    this.#note('confirm', request);
  }

  async pause(volume: string): Promise<void> {
    this.#note('pause', volume);
  }

  async resume(volume: string): Promise<void> {
    this.#note('resume', volume);
  }

  async rescan(volume: string): Promise<void> {
    this.#note('rescan', volume);
  }

  async forget(volume: string): Promise<void> {
    this.#note('forget', volume);
  }

  async promote(request: object): Promise<{epoch: number; from: string | undefined}> {
    this.#note('promote', request);
    return {epoch: 2, from: 'web-1'};
  }

  async followPlan(request: {volume: string; peer: string; peerVolume: string}): Promise<FollowPlan> {
    this.#note('followPlan', request);
    return (
      this.plan ?? {...request, epoch: 2, promotedMs: NOW_MS, goneCount: 0, comingCount: 0, metaCount: 0, gone: []}
    );
  }

  async follow(request: object): Promise<void> {
    this.#note('follow', request);
  }

  async invite(request: {addresses: string[]}): Promise<{code: string; expiresMs: number; addresses: string[]}> {
    this.#note('invite', request);
    return {code: 'tl1-abc', expiresMs: NOW_MS + 600_000, addresses: request.addresses};
  }

  async reload(): Promise<string[]> {
    this.#note('reload');
    return ['volume pgdata: settle is 1 s now'];
  }

  async rotate(request: object): Promise<string[]> {
    this.#note('rotate', request);
    return ['a new key was made'];
  }

  async verify(...[request, onEvent]: Parameters<AgentControl['verify']>): Promise<VerifyOutcome> {
    this.#note('verify', request);
    for (const event of this.verifyEvents) await onEvent(event);
    return this.verified;
  }

  sync(...args: Parameters<AgentControl['sync']>): Promise<RunOutcome> {
    this.#note('sync', args[0]);
    return this.onSync(...args);
  }

  #note(...call: unknown[]): void {
    this.asked.push(call);
    if (this.fault !== undefined) throw this.fault;
  }
}

export function unknownVolume(volume: string): TowlineError<'USAGE'> {
  const hint = 'towline status lists the volumes';
  return new TowlineError('USAGE', `there is no volume ${JSON.stringify(volume)}; ${hint}`, {hint});
}
