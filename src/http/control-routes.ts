/**
 * The routes of the control socket: which fields each one takes, and what of the agent it asks.
 *
 * Invariant: GET changes nothing; a request that is not right in every field reaches no part of the agent.
 */
import type {AgentControl, SyncRequest, VerifyEvent, VerifyRequest} from '../control/agent-api.ts';
import {CONTROL_VERSION} from './control-version.ts';
import type {Reply} from './reply.ts';
import {
  type Fields,
  flag,
  optionalCursor,
  optionalText,
  readFields,
  type Shape,
  text,
  texts,
  whole,
} from './request-fields.ts';

const PAGE_COUNT_MAX = 1_000;
const TIMEOUT_MS_MAX = 10 * 366 * 86_400_000; // the longest duration that config/units.ts reads
const WATCH_INTERVAL_MS = 100; // ten reports a second are more than a person sees

export interface Route {
  method: 'GET' | 'POST';
  /** @param input the query of a GET, the body of a POST, neither checked yet */
  run(input: unknown, control: AgentControl, reply: Reply): Promise<void>;
}

const VOLUME = {volume: text};

export const ROUTES: ReadonlyMap<string, Route> = new Map([
  ['/v1/version', answering('GET', {}, (_, control) => ({api: CONTROL_VERSION, version: control.report().version}))],
  ['/v1/report', answering('GET', {volume: optionalText}, ({volume}, control) => control.report(volume))],
  ['/v1/watch', streaming('GET', {volume: optionalText}, watch)],
  [
    '/v1/pending',
    answering('GET', {...VOLUME, after: optionalCursor, countMax: whole(1, PAGE_COUNT_MAX)}, (query, control) =>
      control.pending(query),
    ),
  ],
  ['/v1/halts', answering('GET', VOLUME, ({volume}, control) => control.halts(volume))],
  [
    '/v1/flush',
    answering(
      'POST',
      {volume: optionalText, timeoutMs: whole(0, TIMEOUT_MS_MAX), isRescan: flag, isQuiesced: flag},
      (query, control, signal) => control.flush(query, signal),
    ),
  ],
  [
    '/v1/once',
    answering('POST', {volumes: texts, timeoutMs: whole(0, TIMEOUT_MS_MAX)}, (query, control) => control.once(query)),
  ],
  [
    '/v1/confirm',
    answering('POST', {...VOLUME, count: whole(0, Number.MAX_SAFE_INTEGER)}, (request, control) =>
      control.confirm(request),
    ),
  ],
  ['/v1/pause', answering('POST', VOLUME, ({volume}, control) => control.pause(volume))],
  ['/v1/resume', answering('POST', VOLUME, ({volume}, control) => control.resume(volume))],
  ['/v1/rescan', answering('POST', VOLUME, ({volume}, control) => control.rescan(volume))],
  ['/v1/promote', answering('POST', {...VOLUME, isForced: flag}, (request, control) => control.promote(request))],
  [
    '/v1/follow-plan',
    answering('POST', {...VOLUME, peer: text, peerVolume: text}, (request, control) => control.followPlan(request)),
  ],
  [
    '/v1/follow',
    answering(
      'POST',
      {...VOLUME, peer: text, peerVolume: text, count: whole(0, Number.MAX_SAFE_INTEGER)},
      (request, control) => control.follow(request),
    ),
  ],
  ['/v1/forget', answering('POST', VOLUME, ({volume}, control) => control.forget(volume))],
  ['/v1/invite', answering('POST', {addresses: texts}, (request, control) => control.invite(request))],
  ['/v1/reload', answering('POST', {}, (_, control) => control.reload())],
  ['/v1/rotate', answering('POST', {isForced: flag}, (request, control) => control.rotate(request))],
  ['/v1/verify', streaming('POST', {...VOLUME, peer: optionalText, isRepair: flag}, verify)],
  [
    '/v1/sync',
    streaming('POST', {address: text, peer: text, peerVolume: text, isOnce: flag, special: text, ids: texts}, sync),
  ],
]);

function answering<S extends Shape>(
  method: Route['method'],
  shape: S,
  ask: (fields: Fields<S>, control: AgentControl, signal: AbortSignal) => unknown,
): Route {
  return {
    method,
    run: async (input, control, reply) => reply.answer(await ask(readFields(input, shape), control, reply.signal)),
  };
}

function streaming<S extends Shape>(
  method: Route['method'],
  shape: S,
  run: (fields: Fields<S>, control: AgentControl, reply: Reply) => Promise<void>,
): Route {
  return {method, run: (input, control, reply) => run(readFields(input, shape), control, reply)};
}

/** A report now and whenever it is another one; a slow reader gets fewer of them, never old ones. */
async function watch({volume}: {volume: string | undefined}, control: AgentControl, reply: Reply): Promise<void> {
  let isChanged = true;
  let wake = (): void => {};
  const stop = control.onChange(() => {
    isChanged = true;
    wake();
  });
  const onAbort = (): void => wake();
  reply.signal.addEventListener('abort', onAbort);
  try {
    let told: string | undefined;
    while (!reply.signal.aborted) {
      if (isChanged) {
        isChanged = false;
        const report = control.report(volume);
        const state = JSON.stringify({...report, nowMs: 0});
        if (state !== told) await reply.send({report});
        told = state;
        await pause(reply.signal);
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
      }
    }
  } finally {
    stop();
    reply.signal.removeEventListener('abort', onAbort);
  }
  reply.finish();
}

function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, WATCH_INTERVAL_MS);
    signal.addEventListener('abort', done, {once: true});
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}

async function sync(request: SyncRequest, control: AgentControl, reply: Reply): Promise<void> {
  const outcome = await control.sync(request, (event) => reply.offer({event}), reply.signal);
  reply.last({outcome});
}

async function verify(request: VerifyRequest, control: AgentControl, reply: Reply): Promise<void> {
  const tell = (event: VerifyEvent): Promise<void> | void =>
    event.kind === 'finding' ? reply.send({event}) : reply.offer({event});
  reply.last({outcome: await control.verify(request, tell, reply.signal)});
}
