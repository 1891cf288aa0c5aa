/**
 * Jobs: synchronous work handed to a worker thread, one at a time per thread. What they are, and the worker's side.
 *
 * The caller's side is worker-pool.ts. Threads serve many scopes (volumes); the handlers of a scope are made in a thread
 * when it gets that scope's first job, may keep something between jobs, and are dropped when the scope is closed.
 *
 * Invariant: an error of a job reaches its caller with its code; it never ends the worker.
 */
import {parentPort, type Transferable} from 'node:worker_threads';
import {isTowlineError, systemErrorOf, TowlineError, type ErrorCode, type TowlineErrorDetails} from './errors.ts';

/** What jobs there are: name → what goes in, what comes out, and what a part is (never where there are none). */
export type JobMap = Record<string, {in: unknown; out: unknown; part: unknown}>;

/** What a job's code can do beside its return value. */
export interface JobContext<P> {
  /** Hands over a part; waits while too many are on their way. `transfer` buffers are moved, not copied. */
  emit(part: P, transfer?: Transferable[]): void;
  /** Buffers of the result to be moved, not copied. */
  transfer(...buffers: Transferable[]): void;
  isCancelled(): boolean;
}

export type JobHandlers<J extends JobMap> = {
  [K in keyof J]: (input: J[K]['in'], context: JobContext<J[K]['part']>) => J[K]['out'];
};

/** The handlers of one scope in one thread, and what they keep between jobs. */
export interface ScopeHandlers<J extends JobMap> {
  handlers: JobHandlers<J>;
  /** Whether later jobs need what is kept here; until then any thread of the lane will do. */
  isHolding(): boolean;
  /** Whether what is kept here makes later jobs cheaper: they come here, but for long waits. */
  isCaching?(): boolean;
  /** Lets go of what is kept: the scope is closed, or its jobs go to another thread from now on. */
  close(): void;
}

export interface RunOptions<P> {
  /** Lane 0 is for short jobs; a long job never holds them back. */
  lane?: 0 | 1;
  onPart?: (part: P) => void | Promise<void>;
  transfer?: Transferable[];
}

/** What callers of jobs need: a scope of a pool, or a part of it by shape. */
export interface JobRunner<J extends JobMap> {
  run<K extends keyof J & string>(kind: K, input: J[K]['in'], options?: RunOptions<J[K]['part']>): Promise<J[K]['out']>;
}

/** @see JobFlags */
export const PARTS_ON_THE_WAY = 0;
/** @see JobFlags */
export const IS_CANCELLED = 1;
const PARTS_ON_THE_WAY_MAX = 16; // of at most a few 100 KiB each

/** Two words that both sides of a scope's lane share: parts that were not taken yet, and not 0 to cancel the job. */
export type JobFlags = Int32Array<SharedArrayBuffer>;

/** What a thread is told of a scope with its first job. */
export interface Opening {
  data: object;
  flags: JobFlags;
}

export type Request =
  | {type: 'job'; id: number; scope: number; kind: string; input: unknown; opening: Opening | undefined}
  | {type: 'close'; id: number; scope: number};
export type Reply =
  | {id: number; type: 'part'; part: unknown}
  | {id: number; type: 'done'; output: unknown; keeps: Keeps}
  | {id: number; type: 'failed'; error: PlainError; keeps: Keeps};

/** What a scope keeps in a thread: nothing, what its jobs are faster with, what they need. */
export type Keeps = 'nothing' | 'cache' | 'open';

export interface PlainError {
  message: string;
  code: string | undefined;
  details: object | undefined;
  stack: string | undefined;
}

/** Errors as plain data, for crossing threads. */
export function plainError(error: unknown): PlainError {
  const coded = isTowlineError(error) ? error : systemErrorOf(error);
  if (coded !== undefined) {
    return {message: coded.message, code: coded.code, details: {...coded.details}, stack: coded.stack};
  }
  const known = error as {message?: string; stack?: string};
  return {message: known.message ?? String(error), code: undefined, details: undefined, stack: known.stack};
}

/** The error that `plainError` took apart. */
export function revivedError(plain: PlainError): Error {
  const error =
    plain.code === undefined
      ? new Error(plain.message)
      : new TowlineError(plain.code as ErrorCode, plain.message, plain.details as TowlineErrorDetails[ErrorCode]);
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}

/**
 * Serves jobs in a worker thread until it is ended.
 * @param make the handlers for what a scope was opened with; called in the scope's first job, which fails if it throws
 */
export function serveJobs<J extends JobMap>(make: (data: unknown) => ScopeHandlers<J>): void {
  const port = parentPort;
  if (port === null) throw new Error('serveJobs runs in a worker thread only');
  const scopes = new Map<number, ServedScope>();
  const post = (reply: Reply, transfer: Transferable[] = []): void => port.postMessage(reply, transfer);
  port.on('message', (request: Request) => {
    const {id, scope: number} = request;
    let scope = scopes.get(number);
    try {
      if (request.type === 'close') {
        scopes.delete(number);
        scope?.made?.close();
        return post({id, type: 'done', output: undefined, keeps: 'nothing'});
      }
      if (request.opening !== undefined) scopes.set(number, (scope = {opening: request.opening, made: undefined}));
      if (scope === undefined) throw new Error('a job came for a scope that is not open');
      scope.made ??= make(scope.opening.data) as unknown as ScopeHandlers<JobMap>;
      const moved: Transferable[] = [];
      const output = runJob(request, scope.made, contextOf(id, {flags: scope.opening.flags, moved, post}));
      post({id, type: 'done', output, keeps: keptBy(scope.made)}, moved);
    } catch (error) {
      post({id, type: 'failed', error: plainError(error), keeps: keptBy(scope?.made)});
    }
  });
}

function keptBy(made: ScopeHandlers<JobMap> | undefined): Keeps {
  if (made?.isHolding() === true) return 'open';
  return made?.isCaching?.() === true ? 'cache' : 'nothing';
}

interface ServedScope {
  opening: Opening;
  made: ScopeHandlers<JobMap> | undefined;
}

function runJob(
  {kind, input}: Extract<Request, {type: 'job'}>,
  {handlers}: ScopeHandlers<JobMap>,
  context: JobContext<unknown>,
): unknown {
  return (handlers[kind] as (input: unknown, context: JobContext<unknown>) => unknown)(input, context);
}

function contextOf(
  id: number,
  {flags, moved, post}: {flags: JobFlags; moved: Transferable[]; post: (reply: Reply, moved: Transferable[]) => void},
): JobContext<unknown> {
  const isCancelled = (): boolean => Atomics.load(flags, IS_CANCELLED) !== 0;
  return {
    emit: (part, transfer = []) => {
      for (let count; (count = Atomics.load(flags, PARTS_ON_THE_WAY)) >= PARTS_ON_THE_WAY_MAX && !isCancelled();)
        Atomics.wait(flags, PARTS_ON_THE_WAY, count, 100);
      Atomics.add(flags, PARTS_ON_THE_WAY, 1);
      post({id, type: 'part', part}, transfer);
    },
    transfer: (...buffers) => moved.push(...buffers),
    isCancelled,
  };
}
