/** Jobs that do what jobs.test.ts asks for. */
import {threadId} from 'node:worker_threads';
import {TowlineError} from '../../../src/base/errors.ts';
import {serveJobs, type JobHandlers} from '../../../src/base/jobs.ts';

export type TestJobs = {
  double: {in: Uint8Array; out: Uint8Array; part: never};
  thread: {in: undefined; out: number; part: never};
  refuse: {in: number; out: never; part: never};
  break: {in: undefined; out: never; part: never};
  /** Ends the thread from within: an exit alone, or an error that nobody catches and then an exit. */
  crash: {in: 'exit' | 'error'; out: never; part: never};
  /** Emits numbers, counting them in `emitted`; says at which one it saw the cancellation. */
  count: {in: {to: number; emitted: Int32Array}; out: {cancelledAt: number | undefined}; part: number};
  /** Runs until it is cancelled. */
  wait: {in: Int32Array; out: undefined; part: never};
  /** Does not look at the cancellation: runs until the flag is 2. */
  hang: {in: Int32Array; out: undefined; part: never};
  /** Keeps a value for later jobs of the scope, or lets go of it. */
  keep: {in: string | undefined; out: undefined; part: never};
  /** The same, as what is only faster with it. */
  cache: {in: string; out: undefined; part: never};
  /** What is kept here for the scope, the name that the scope was opened with, and the thread. */
  look: {in: undefined; out: {kept: string | undefined; name: string; thread: number}; part: never};
};

/** What a scope of the tests is opened with. */
export interface TestScope {
  name: string;
  /** Counts the scopes' handlers that were closed. */
  closed?: Int32Array;
  /** Making its handlers fails. */
  isBroken?: boolean;
}

const rest = new Int32Array(new SharedArrayBuffer(4));

const plainHandlers: JobHandlers<Omit<TestJobs, 'keep' | 'cache' | 'look'>> = {
  double: (bytes, context) => {
    const out = Uint8Array.from(bytes, (byte) => byte * 2);
    context.transfer(out.buffer);
    return out;
  },
  thread: () => threadId,
  refuse: (count) => {
    throw new TowlineError('HALTED', 'halted', {kind: 'delete-count', volume: 'v', count, limit: 1});
  },
  break: () => {
    throw new TypeError('x is not a function');
  },
  crash: (how) => {
    if (how === 'exit') process.exit(3);
    throw {
      get message(): never {
        throw new Error('not even its message can be read');
      },
    };
  },
  count: ({to, emitted}, context) => {
    for (let number = 0; number < to; number++) {
      if (context.isCancelled()) return {cancelledAt: number};
      context.emit(number);
      Atomics.add(emitted, 0, 1);
    }
    return {cancelledAt: undefined};
  },
  wait: (started, context) => {
    Atomics.store(started, 0, 1);
    Atomics.notify(started, 0);
    while (!context.isCancelled()) Atomics.wait(rest, 0, 0, 1);
    return undefined;
  },
  hang: (flag) => {
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
    while (Atomics.load(flag, 0) !== 2) Atomics.wait(flag, 0, 1, 5);
    return undefined;
  },
};

serveJobs<TestJobs>((data) => {
  const {name, closed, isBroken} = data as TestScope;
  if (isBroken === true) throw new Error(`${name} has no handlers`);
  let kept: string | undefined;
  let isCache = false;
  return {
    handlers: {
      ...plainHandlers,
      keep: (value) => {
        kept = value;
        return undefined;
      },
      cache: (value) => {
        kept = value;
        isCache = true;
        return undefined;
      },
      look: () => ({kept, name, thread: threadId}),
    },
    isHolding: () => kept !== undefined && !isCache,
    isCaching: () => isCache,
    close: () => {
      if (closed !== undefined) Atomics.add(closed, 0, 1);
      if (kept === 'bad') throw new Error('cannot be closed');
    },
  };
});
