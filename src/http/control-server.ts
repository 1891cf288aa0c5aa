/**
 * HTTP on a unix socket in the state folder, for the commands of this host. Not for other hosts: whoever may open the
 * socket may do everything, and its mode lets nobody but the agent's own user and root open it.
 *
 * Invariants: of two agents on one folder the second is refused; a request is bounded in size and in time; an answer
 * never holds a stack.
 */
import {closeSync, constants, lstatSync, openSync, unlinkSync} from 'node:fs';
import {createServer, type IncomingMessage, type Server} from 'node:http';
import {dirname} from 'node:path';
import {asTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import type {AgentControl} from '../control/agent-api.ts';
import {tryLock} from '../linux/lock.ts';
import {prepareFolder} from '../state/state-files.ts';
import type {LogPort} from '../telemetry/log.ts';
import {ROUTES} from './control-routes.ts';
import {Reply, SIGN_OF_LIFE_MS} from './reply.ts';
import {readJson} from './request-fields.ts';
import {shortSocketPath} from './socket-path.ts';

const BODY_BYTES_MAX = 65_536;
const HEAD_BYTES_MAX = 1 << 20; // a cursor of `pending` may hold the longest path, escaped twice
const CONNECTIONS_MAX = 32; // with their heads: 32 MiB at most
const CHECK_MS = 5_000; // an idle agent is not woken for nothing
const REQUEST_MS_MAX = 10_000;
const CLOSE_MS_MAX = 1_000;
const PRIVATE_UMASK = 0o177;

/**
 * Serves the control socket until `close`. It belongs into the main thread: a worker has no umask to set.
 * @param options `requestMsMax`: a request must have arrived whole by then, 10 s; `signOfLifeMs`: so often whoever waits
 *   hears of it, 5 s
 * @throws TowlineError LOCKED when another agent serves this folder, REFUSED when the folder or what is at the socket's
 *   name is not its own, SYSTEM
 */
export async function serveControl(options: {
  socketPath: string;
  control: AgentControl;
  log: LogPort;
  requestMsMax?: number;
  signOfLifeMs?: number;
}): Promise<{close(): Promise<void>}> {
  const {socketPath, control, log, requestMsMax = REQUEST_MS_MAX, signOfLifeMs = SIGN_OF_LIFE_MS} = options;
  const folder = dirname(socketPath);
  prepareFolder(folder);
  const folderFd = lockFolder(folder);
  const short = shortSocketPath(socketPath);
  const replies = new Set<Reply>();
  const server = createServer({
    maxHeaderSize: HEAD_BYTES_MAX,
    headersTimeout: requestMsMax,
    requestTimeout: requestMsMax,
    connectionsCheckingInterval: Math.min(CHECK_MS, requestMsMax),
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.on('request', (request, response) => {
    const reply = new Reply(response, signOfLifeMs);
    replies.add(reply);
    response.once('close', () => replies.delete(reply));
    void handle(request, reply, {control, log});
  });
  const letGo = (): void => {
    short.release();
    closeSync(folderFd);
  };
  try {
    removeStale(socketPath);
    await listen(server, short.path, socketPath);
  } catch (error) {
    letGo();
    throw error;
  }
  let closing: Promise<void> | undefined;
  return {close: () => (closing ??= closeServer(server, replies).finally(letGo))};
}

/** One agent a folder, for as long as it lives: the lock ends with the process, however it ends. */
function lockFolder(folder: string): number {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  if (tryLock(fd)) return fd;
  closeSync(fd);
  const message = `another agent runs on the state in ${folder}; stop it first, or give this one a folder of its own`;
  throw new TowlineError('LOCKED', message, {path: folder, holder: 'agent'});
}

/** What a dead agent left; the caller holds the folder's lock, so nobody listens there. */
function removeStale(socketPath: string): void {
  const stat = lstatSync(socketPath, {throwIfNoEntry: false});
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    const reason = `${socketPath} is there and is no socket`;
    throw new TowlineError('REFUSED', `${reason}; the agent wants to listen there: move it away`, {reason});
  }
  unlinkSync(socketPath);
}

function listen(server: Server, path: string, shownPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const details = {syscall: error.syscall ?? 'listen', errno: error.code ?? '', path: shownPath};
      const message = `cannot listen on ${shownPath}: ${messageOf(error)}`;
      reject(new TowlineError('SYSTEM', message, details, {cause: error}));
    };
    server.once('error', onError);
    // The socket is made within this call, never wider than its owner.
    const umask = process.umask(PRIVATE_UMASK);
    try {
      server.listen(path, () => {
        server.off('error', onError);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}

/** Lets running requests end for a second, then cuts them. */
async function closeServer(server: Server, replies: Set<Reply>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const reply of replies) reply.cancel();
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS_MAX);
  await closed;
  clearTimeout(timer);
}

async function handle(
  request: IncomingMessage,
  reply: Reply,
  parts: {control: AgentControl; log: LogPort},
): Promise<void> {
  const [path = '', query = ''] = (request.url ?? '').split('?', 2);
  try {
    const route = ROUTES.get(path);
    if (route === undefined) return reply.fail(usage(`there is no ${JSON.stringify(path.slice(0, 60))} here`), 404);
    if (request.method !== route.method) {
      return reply.fail(usage(`${path} takes ${route.method}, not ${request.method}`), 405, {allow: route.method});
    }
    const body = route.method === 'POST' ? await readBody(request) : undefined;
    if (body === TOO_LARGE) {
      const error = usage(`the request is larger than ${BODY_BYTES_MAX} bytes`);
      // What is left of it is not read: the connection ends with the answer.
      return reply.fail(error, 413, {connection: 'close'});
    }
    await route.run(body ?? Object.fromEntries(new URLSearchParams(query)), parts.control, reply);
  } catch (thrown) {
    if (reply.isGone) return;
    const error = asTowlineError(thrown);
    if (error.code === 'BUG') {
      parts.log.error('a control request failed', {path, error: error.message, stack: stackOf(error)});
    }
    reply.fail(error);
  }
}

const TOO_LARGE = Symbol('too large');

/** The body as JSON. */
async function readBody(request: IncomingMessage): Promise<unknown> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) return TOO_LARGE;
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > BODY_BYTES_MAX) return TOO_LARGE;
    chunks.push(chunk);
  }
  return readJson(Buffer.concat(chunks));
}

function stackOf(error: TowlineError): string | undefined {
  return error.cause instanceof Error ? error.cause.stack : error.stack;
}

function usage(message: string): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', message, {hint: 'call it through the towline command'});
}
