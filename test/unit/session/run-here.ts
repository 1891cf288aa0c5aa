/**
 * Runs a worker's jobs in this thread: the real handlers, without the thread.
 */
import type {JobHandlers, JobMap, JobRunner} from '../../../src/base/jobs.ts';

export function runHere<J extends JobMap>(
  handlers: JobHandlers<J>,
  onJob: (kind: string) => void = () => undefined,
): JobRunner<J> {
  const context = {emit: () => undefined, transfer: () => undefined, isCancelled: () => false};
  return {
    run: async (kind, input) => {
      await new Promise((resolve) => setImmediate(resolve));
      onJob(kind);
      return handlers[kind](input, context);
    },
  };
}
