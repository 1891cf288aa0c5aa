/**
 * Asks the agent that runs on a state folder, over its control socket. What it answers is taken as it is: who owns the
 * socket owns the agent; only its size is bounded.
 *
 * Invariant: every error has a code and says what to do; an agent that hangs is told from one that works.
 */
import {type IncomingMessage, request as httpRequest} from 'node:http';
import {TowlineError} from '../base/errors.ts';
import type {AgentControl, AgentReport, RunOutcome} from '../control/agent-api.ts';
import {ANSWER_BYTES_MAX, readAnswer, splitLines} from './control-answers.ts';
import {CONTROL_VERSION} from './control-version.ts';
import {controlSocketOf, shortSocketPath} from './socket-path.ts';
import {fromWire} from './wire-error.ts';

const SILENCE_MS_MAX = 15_000; // three signs of life (reply.ts)
const TIMER_MS_MAX = 2 ** 31 - 1; // setTimeout fires at once for more
const HOOKS_MS = 2 * 3_600_000; // the longest that its hooks may take
const GRACE_MS = 60_000; // beyond the time that the agent was given itself

type Asked<F> = F extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;

/** The agent's methods as they look from another process; errors come as they were thrown there. */
export type AgentClient = {[K in Exclude<keyof AgentControl, 'onChange'>]: Asked<AgentControl[K]>} & {
  /** Of the program that the agent runs. */
  readonly version: string;
  /** A report now and whenever it is another one, until `signal` is aborted. @throws PEER_LOST when the agent ends */
  watch(volume: string | undefined, signal: AbortSignal): AsyncIterable<AgentReport>;
};

interface Call {
  method: 'GET' | 'POST';
  path: string;
  fields: object;
  signal?: AbortSignal | undefined;
  /** After so long the answer is no longer waited for, whatever the agent shows of itself. */
  endMs?: number;
  /** Why it was given up; what the socket says then is only that it was closed. */
  fault?: TowlineError;
}

/**
 * @param options `silenceMsMax`: nothing heard for so long means that the agent hangs, 15 s
 * @returns undefined when no agent runs on this folder
 * @throws TowlineError NOT_AUTHORISED when its socket may not be opened, PEER_LOST when it does not answer, REFUSED when
 *   it is of a version that is not understood
 */
export async function connectControl(
  stateFolder: string,
  options: {silenceMsMax?: number} = {},
): Promise<AgentClient | undefined> {
  const connection = new Connection(stateFolder, options.silenceMsMax ?? SILENCE_MS_MAX);
  try {
    const {api, version} = await connection.ask<{api: unknown; version: unknown}>({
      method: 'GET',
      path: 'version',
      fields: {},
    });
    if (api !== CONTROL_VERSION) throw connection.otherVersion(`version ${String(version)}`);
    return clientOf(connection, String(version));
  } catch (error) {
    if (isNobodyThere(error)) return undefined;
    throw error;
  }
}

function clientOf(connection: Connection, version: string): AgentClient {
  const get = <T>(path: string, fields: object): Promise<T> => connection.ask({method: 'GET', path, fields});
  const post = <T>(path: string, fields: object): Promise<T> => connection.ask({method: 'POST', path, fields});
  const done = async (path: string, fields: object): Promise<void> => {
    await post(path, fields);
  };
  const run = (path: string, fields: {timeoutMs: number; isQuiesced?: boolean}, signal?: AbortSignal) =>
    connection.ask<RunOutcome>({
      method: 'POST',
      path,
      fields,
      signal,
      endMs: fields.timeoutMs + GRACE_MS + (fields.isQuiesced === true ? HOOKS_MS : 0),
    });
  return {
    version,
    report: (volume) => get('report', {volume}),
    watch: (volume, signal) => watch(connection, volume, signal),
    pending: (query) => get('pending', query),
    halts: (volume) => get('halts', {volume}),
    flush: (query, signal) => run('flush', query, signal),
    once: (query) => run('once', query),
    confirm: (request) => done('confirm', request),
    pause: (volume) => done('pause', {volume}),
    resume: (volume) => done('resume', {volume}),
    rescan: (volume) => done('rescan', {volume}),
    promote: (request) => post('promote', request),
    followPlan: (request) => post('follow-plan', request),
    follow: (request) => done('follow', request),
    forget: (volume) => done('forget', {volume}),
    invite: (request) => post('invite', request),
    reload: () => post('reload', {}),
    rotate: (request) => post('rotate', request),
    verify: (request, onEvent, signal) => streamed(connection, 'verify', {request, onEvent, signal}),
    sync: (request, onEvent, signal) => streamed(connection, 'sync', {request, onEvent, signal}),
  };
}

async function* watch(
  connection: Connection,
  volume: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<AgentReport> {
  const call: Call = {method: 'GET', path: 'watch', fields: {volume}, signal};
  for await (const {report} of connection.lines<{report: AgentReport}>(call)) yield report;
  throw connection.ended();
}

/** A call whose answer comes line by line: events, and how it ended. */
async function streamed<O>(
  connection: Connection,
  path: string,
  {request, onEvent, signal}: {request: object; onEvent: (event: never) => unknown; signal: AbortSignal},
): Promise<O> {
  const call: Call = {method: 'POST', path, fields: request, signal};
  for await (const line of connection.lines<{event?: never; outcome?: O}>(call)) {
    if (line.outcome !== undefined) return line.outcome;
    if (line.event !== undefined) await onEvent(line.event);
  }
  throw connection.ended();
}

function isNobodyThere(error: unknown): boolean {
  const {code} = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR';
}

class Connection {
  readonly #stateFolder: string;
  readonly #silenceMsMax: number;

  constructor(stateFolder: string, silenceMsMax: number) {
    this.#stateFolder = stateFolder;
    this.#silenceMsMax = silenceMsMax;
  }

  /** The whole answer. */
  async ask<T>(call: Call): Promise<T> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.#pieces(call, await this.#open(call))) chunks.push(chunk);
    return this.#parse(Buffer.concat(chunks).toString()) as T;
  }

  /** The answer's lines; an error line is thrown. */
  async *lines<T>(call: Call): AsyncGenerator<Awaited<T>> {
    const lines = splitLines(this.#pieces(call, await this.#open(call)), (what) => this.#notUnderstood(what));
    for await (const line of lines) {
      if (line.length === 0) continue; // a sign of life
      const value = this.#parse(line.toString()) as {error?: unknown};
      const error = fromWire(value.error);
      if (error !== undefined) throw error;
      yield value as Awaited<T>;
    }
  }

  ended(cause?: unknown): TowlineError<'PEER_LOST'> {
    const message = `the agent on the state in ${this.#stateFolder} ended before it answered; see its log, and start it again`;
    return new TowlineError('PEER_LOST', message, {peer: 'agent', idleMs: 0}, {cause});
  }

  otherVersion(found: string): TowlineError<'REFUSED'> {
    const reason = `the agent on the state in ${this.#stateFolder} (${found}) does not understand this command`;
    return new TowlineError('REFUSED', `${reason}: both must be of one version; restart the agent after an update`, {
      reason,
    });
  }

  /** Sends the request. @returns the response once it begins, when it is no error */
  async #open(call: Call): Promise<IncomingMessage> {
    const response = await this.#begin(call);
    const {statusCode = 0} = response;
    if (statusCode === 200) return response;
    let text = '';
    for await (const chunk of this.#pieces(call, response)) text += chunk.toString();
    if (statusCode === 404 || statusCode === 405) throw this.otherVersion('another version');
    throw fromWire(this.#parse(text)) ?? this.#notUnderstood(`status ${statusCode}`);
  }

  #begin(call: Call): Promise<IncomingMessage> {
    const {method, path, fields, signal} = call;
    const body = method === 'POST' ? JSON.stringify(fields) : undefined;
    const query = method === 'GET' ? queryOf(fields) : '';
    return new Promise((resolve, reject) => {
      const onError = (error: Error): void => reject(this.#errorOf(error, call));
      let short: ReturnType<typeof shortSocketPath>;
      try {
        short = shortSocketPath(controlSocketOf(this.#stateFolder));
      } catch (error) {
        return onError(error as Error);
      }
      const request = httpRequest({
        socketPath: short.path,
        path: `/v1/${path}${query}`,
        method,
        agent: false,
        ...(signal === undefined ? {} : {signal}),
        headers:
          body === undefined ? {} : {'content-type': 'application/json', 'content-length': Buffer.byteLength(body)},
      });
      const giveUp = (): void => {
        call.fault = this.#silent();
        request.destroy();
      };
      const endTimer = call.endMs === undefined ? undefined : setTimeout(giveUp, Math.min(call.endMs, TIMER_MS_MAX));
      request.setTimeout(this.#silenceMsMax, giveUp);
      request.once('error', onError);
      request.once('response', resolve);
      request.once('close', () => {
        clearTimeout(endTimer);
        short.release();
      });
      request.end(body);
    });
  }

  async *#pieces(call: Call, response: IncomingMessage): AsyncGenerator<Buffer> {
    let sizeBytes = 0;
    const isStream = response.headers['content-type'] === 'application/x-ndjson';
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        sizeBytes += chunk.length;
        if (!isStream && sizeBytes > ANSWER_BYTES_MAX) throw this.#notUnderstood(`more than ${ANSWER_BYTES_MAX} bytes`);
        yield chunk;
      }
    } catch (error) {
      throw this.#errorOf(error as Error, call);
    } finally {
      response.destroy();
    }
  }

  #parse(text: string): object {
    return readAnswer(text, (what) => this.#notUnderstood(what));
  }

  #errorOf(error: NodeJS.ErrnoException, call: Call): Error {
    if (call.signal?.aborted === true) return call.signal.reason as Error;
    if (error instanceof TowlineError) return error;
    if (call.fault !== undefined) return call.fault;
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      const message = `the agent's socket in ${this.#stateFolder} may not be opened: run this as the agent's user or as root`;
      return new TowlineError('NOT_AUTHORISED', message, {peer: 'agent'}, {cause: error});
    }
    return this.ended(error);
  }

  #silent(): TowlineError<'PEER_LOST'> {
    const idleMs = this.#silenceMsMax;
    const message = `the agent on the state in ${this.#stateFolder} does not answer; see its log, or restart it`;
    return new TowlineError('PEER_LOST', message, {peer: 'agent', idleMs});
  }

  #notUnderstood(what: string): TowlineError<'PROTOCOL'> {
    const message = `what answers in ${this.#stateFolder} is no agent of this version (${what})`;
    return new TowlineError('PROTOCOL', message, {rule: 'control answer', value: what, limit: ''});
  }
}

/** Without what is undefined. */
function queryOf(fields: object): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) query.set(name, String(value));
  return query.size === 0 ? '' : `?${query.toString()}`;
}
