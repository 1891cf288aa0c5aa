/**
 * One question to a container engine over its socket, and what can go wrong with it, said in sentences.
 *
 * Not a client: it knows neither what is asked nor what answers look like. Invariant: an answer is bounded in bytes and
 * in time before any of it is kept.
 */
import {type ClientRequest, type IncomingMessage, request} from 'node:http';
import {messageOf, TowlineError} from '../base/errors.ts';
import type {EngineName} from '../model/address.ts';
import {fromText, showPath} from '../model/path.ts';

/** Where an engine is reached; what the configuration says fits by shape. */
export interface EngineSocket {
  engine: EngineName;
  /** Absolute path, as text. */
  socket: string;
  /** Whether somebody named it; else it is looked for at its usual place and may be missing. */
  isConfigured: boolean;
}

export interface EngineAnswer {
  status: number;
  body: Buffer;
}

export interface Limits {
  /** From connecting to the last byte. */
  deadlineMs: number;
  bytesMax: number;
}

const SAID_MAX = 300; // characters of an engine's own words that fit into a sentence

/**
 * @param path with its query, encoded
 * @throws TowlineError SYSTEM: its `errno` tells a missing socket (ENOENT) from a refused one and from a slow engine
 */
export async function askEngine(at: EngineSocket, path: string, limits: Limits): Promise<EngineAnswer> {
  const question = send(at, path);
  const deadline = setDeadline(question, limits.deadlineMs);
  try {
    const response = await answerTo(question);
    return {status: response.statusCode ?? 0, body: await collect(response, limits.bytesMax)};
  } catch (error) {
    throw engineFault(at, path, deadline.reasonFor(error), limits);
  } finally {
    deadline.clear();
    question.destroy();
  }
}

export interface Stream extends Limits {
  /** `deadlineMs` holds until here; `bytesMax` is for one line. */
  onOpen: () => void;
  onLine: (line: string) => void;
  signal: AbortSignal;
}

/**
 * An answer that does not end, line by line. Resolves when the engine ends it or `signal` is aborted.
 * @throws TowlineError SYSTEM, also when the engine refuses it
 */
export async function followEngine(at: EngineSocket, path: string, stream: Stream): Promise<void> {
  const question = send(at, path);
  const deadline = setDeadline(question, stream.deadlineMs);
  const end = (): void => void question.destroy(codedError('ECANCELED'));
  stream.signal.addEventListener('abort', end, {once: true});
  if (stream.signal.aborted) end();
  try {
    const response = await answerTo(question);
    if (response.statusCode !== 200) {
      const body = await collect(response, stream.bytesMax);
      throw refusedByEngine(at, path, {status: response.statusCode ?? 0, body});
    }
    deadline.clear();
    stream.onOpen();
    await eachLine(response, stream);
  } catch (error) {
    if (stream.signal.aborted) return;
    throw error instanceof TowlineError ? error : engineFault(at, path, deadline.reasonFor(error), stream);
  } finally {
    deadline.clear();
    stream.signal.removeEventListener('abort', end);
    question.destroy();
  }
}

/** An answer that is no success, and not one that its caller knows how to take. */
export function refusedByEngine(at: EngineSocket, path: string, answer: EngineAnswer): TowlineError<'SYSTEM'> {
  const said = messageIn(answer.body);
  const errno = answer.status >= 500 ? 'EIO' : 'EPROTO';
  const message = `${at.engine} at ${at.socket} answered ${answer.status} to GET ${path}${said === '' ? '' : `: ${said}`}`;
  return new TowlineError('SYSTEM', message, {syscall: `GET ${path}`, errno, path: at.socket});
}

/** An answer, or an engine, that cannot be used. */
export function unusableEngine(at: EngineSocket, path: string, what: string): TowlineError<'SYSTEM'> {
  const message = `${at.engine} at ${at.socket} ${what}`;
  return new TowlineError('SYSTEM', message, {syscall: `GET ${path}`, errno: 'EPROTO', path: at.socket});
}

function send(at: EngineSocket, path: string): ClientRequest {
  // A connection of its own: an engine that restarts leaves no stale one behind, and connecting costs microseconds.
  return request({socketPath: at.socket, path, agent: false, headers: {host: at.engine, accept: 'application/json'}});
}

/** Node tells a request that was ended from here as a broken connection: what ended it is remembered. */
function setDeadline(question: ClientRequest, deadlineMs: number): {clear(): void; reasonFor(error: unknown): unknown} {
  let reason: Error | undefined;
  const timer = setTimeout(() => {
    reason = codedError('ETIMEDOUT');
    question.destroy(reason);
  }, deadlineMs);
  return {clear: () => clearTimeout(timer), reasonFor: (error) => reason ?? error};
}

function answerTo(question: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    question.on('error', reject);
    question.on('response', resolve);
    question.end();
  });
}

async function collect(response: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    sizeBytes += part.length;
    if (sizeBytes > bytesMax) throw codedError('EMSGSIZE');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function eachLine(response: IncomingMessage, {bytesMax, onLine}: Stream): Promise<void> {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end; (end = part.indexOf(0x0a, from)) >= 0; from = end + 1) {
      parts.push(part.subarray(from, end));
      if (sizeBytes + end - from > bytesMax) throw codedError('EMSGSIZE');
      onLine(Buffer.concat(parts).toString('utf8'));
      parts = [];
      sizeBytes = 0;
    }
    if (from === part.length) continue;
    parts.push(part.subarray(from));
    sizeBytes += part.length - from;
    if (sizeBytes > bytesMax) throw codedError('EMSGSIZE');
  }
}

function codedError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), {code});
}

function engineFault(at: EngineSocket, path: string, error: unknown, limits: Limits): TowlineError<'SYSTEM'> {
  const errno = (error as NodeJS.ErrnoException).code ?? 'EIO';
  const message = `${at.engine} cannot be asked: ${reasonOf(errno, at.socket, error, limits)}`;
  return new TowlineError('SYSTEM', message, {syscall: `GET ${path}`, errno, path: at.socket}, {cause: error});
}

function reasonOf(errno: string, socket: string, error: unknown, {deadlineMs, bytesMax}: Limits): string {
  switch (errno) {
    case 'ENOENT':
      return `there is no socket ${socket}; the engine is not installed or not running`;
    case 'ECONNREFUSED':
      return `nobody listens at ${socket}; start the engine`;
    case 'EACCES':
    case 'EPERM':
      return `this user may not open ${socket}; run as root`;
    case 'ETIMEDOUT':
      return `no whole answer came from ${socket} within ${deadlineMs} ms; it is overloaded or hangs`;
    case 'EMSGSIZE':
      return `the answer from ${socket} is larger than ${bytesMax} bytes`;
    default:
      return `${messageOf(error)} (${socket})`;
  }
}

/** The words of an error's body, safe to print; '' where there are none. */
function messageIn(body: Buffer): string {
  let said: unknown;
  try {
    said = (JSON.parse(body.toString('utf8')) as {message?: unknown} | null)?.message;
  } catch {
    said = body.toString('utf8');
  }
  const text = typeof said === 'string' ? said.trim().slice(0, SAID_MAX) : '';
  return text === '' ? '' : showPath(fromText(text));
}
