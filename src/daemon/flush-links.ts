/**
 * Waits until the peers have what a volume holds: as it is now, or as it is while its application is held still.
 *
 * Not the hooks themselves (quiesce.ts). Invariant: what is answered as equal was proved by a cut that came later than
 * the question, and of a quiesced flush later than the quiesce hook and before the resume hook.
 */
import type {Clock} from '../base/clock.ts';
import {EXIT_CODE, TowlineError, worstExitCode} from '../base/errors.ts';
import type {FlushQuery, HookRun, LinkOutcome, LinkState, RunOutcome} from '../control/agent-api.ts';
import type {AgentVolume} from './agent-volume.ts';
import type {ReceiveLink} from './receive-link.ts';
import type {SendLink} from './send-link.ts';
import {whenAborted} from './volume-sides.ts';

export interface Waited {
  link: SendLink | ReceiveLink;
  run: () => Promise<LinkOutcome>;
}

const PREPARE_MS_MAX = 5_000;
/** Nothing is quiesced while a link is in another state: the copy would not come to an end. */
const CONNECTED: readonly LinkState[] = ['comparing', 'sending', 'in-sync', 'problems'];
const AGAIN_MS = 200; // until what was on its way when everything stood still has arrived
const STILL_CHANGING: readonly string[] = ['changing', 'torn', 'vanished'];

/** Runs all, each to its end, to the deadline, or until nobody waits any longer. */
export async function together(
  clock: Clock,
  timeoutMs: number,
  waited: readonly Waited[],
  signal?: AbortSignal,
): Promise<RunOutcome> {
  const waker = new AbortController();
  const late = clock.sleep(Math.max(0, timeoutMs), waker.signal).then(
    () => undefined,
    () => undefined,
  );
  const ends = signal === undefined ? [late] : [late, whenAborted(signal).then(() => undefined)];
  try {
    const links = await Promise.all(
      waited.map(async ({link, run}) => (await Promise.race([run(), ...ends])) ?? link.lateOutcome()),
    );
    return {exitCode: worstExitCode(links.map(({exitCode}) => exitCode)), links};
  } finally {
    waker.abort();
  }
}

/** What was written before the call is durable on the peers. */
export function flushLinks(
  volumes: readonly AgentVolume[],
  {timeoutMs, isRescan}: Pick<FlushQuery, 'timeoutMs' | 'isRescan'>,
  clock: Clock,
): Promise<RunOutcome> {
  const sends = volumes.flatMap((volume) => volume.sends.map((send) => ({volume, send})));
  return together(
    clock,
    timeoutMs,
    sends.map(({volume, send}) => ({link: send, run: () => flushed(volume, send, isRescan)})),
  );
}

async function flushed(volume: AgentVolume, send: SendLink, isRescan: boolean): Promise<LinkOutcome> {
  const source = volume.sourceOf(send);
  await source?.scanned.catch(() => undefined);
  await source?.drain();
  // Where not everything is watched, no event tells what is not.
  if (isRescan || source?.live.isPolling === true) await source?.live.rescan();
  return send.nextProof(false);
}

/**
 * The peers have what the volume holds while its hooks hold the application still.
 * @throws USAGE without a quiesce hook, REFUSED while the volume is not open, LOCKED while another one is at it
 */
export async function quiescedFlush(
  volume: AgentVolume,
  {timeoutMs}: Pick<FlushQuery, 'timeoutMs'>,
  {clock, signal}: {clock: Clock; signal: AbortSignal | undefined},
): Promise<RunOutcome> {
  checkQuiescable(volume);
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  // Most of it before: the less is left, the shorter the application stands still. A busy one may not come to a proof.
  const before = await flushLinks(
    [volume],
    {timeoutMs: Math.min(timeoutMs / 2, PREPARE_MS_MAX), isRescan: false},
    clock,
  );
  if (signal?.aborted === true || !volume.sends.every((send) => CONNECTED.includes(send.report().state)))
    return {...before, exitCode: worstExitCode([before.exitCode, EXIT_CODE.PEER_LOST]), hooks: []};
  const hooks: HookRun[] = [];
  const outcome = await volume.quiesce.during(hooks, signal, (held) => {
    // Everything is looked at, once for all links that share a source.
    const sources = new Set(volume.sends.map((send) => volume.sourceOf(send)));
    const read = new Map([...sources].map((source) => [source, source?.readAll(held)]));
    const sends = volume.sends.map((send): Waited => ({
      link: send,
      run: async () => {
        await read.get(volume.sourceOf(send));
        return restedFlush(volume, send, {clock, deadlineMs, signal: held});
      },
    }));
    return together(clock, deadlineMs - clock.monotonicMs(), sends, held);
  });
  return told(outcome, hooks, volume);
}

function checkQuiescable(volume: AgentVolume): void {
  const {name, hooks} = volume.config;
  if (hooks.quiesce === undefined) {
    const hint = 'set hooks: {quiesce: [PROGRAM, …], resume: [PROGRAM, …]} at the volume';
    throw new TowlineError('USAGE', `volume ${name} has no quiesce hook; ${hint}`, {hint});
  }
  const {reason} = volume.report(); // why it is not open
  if (reason !== undefined)
    throw new TowlineError('REFUSED', `volume ${name} is not open, and nothing is quiesced for it: ${reason}`, {
      reason,
    });
}

/** Everything was looked at; what was being read when it came to rest is waited for. */
async function restedFlush(
  volume: AgentVolume,
  send: SendLink,
  {clock, deadlineMs, signal}: {clock: Clock; deadlineMs: number; signal: AbortSignal},
): Promise<LinkOutcome> {
  for (;;) {
    const outcome = await flushed(volume, send, false);
    const isHopeful =
      outcome.exitCode === 1 &&
      outcome.problems.every(({code, side}) => side === 'source' && STILL_CHANGING.includes(code));
    if (!isHopeful || signal.aborted || clock.monotonicMs() + AGAIN_MS >= deadlineMs) return outcome;
    await clock.sleep(AGAIN_MS, signal).catch(() => undefined);
  }
}

/** @param outcome undefined when the quiesce hook kept it from being tried */
function told(outcome: RunOutcome | undefined, hooks: HookRun[], volume: AgentVolume): RunOutcome {
  const {quiesce, resume} = volume.config.hooks;
  const failed = (hook: HookRun['hook']): boolean =>
    hooks.some((run) => run.hook === hook && run.failure !== undefined);
  const codes = [
    ...(failed('quiesce') && quiesce?.onFailure === 'stop' ? [EXIT_CODE.REFUSED] : []),
    ...(failed('resume') && resume?.onFailure === 'stop' ? [1] : []),
  ];
  return {exitCode: worstExitCode([outcome?.exitCode ?? 0, ...codes]), links: outcome?.links ?? [], hooks};
}
