/**
 * Runs a worker's jobs in this thread: the real handlers, without the thread.
 */
import type {JobHandlers, JobMap, JobRunner} from '../../../src/base/jobs.ts';

export function runHere<J extends JobMap>(
  handlers: JobHandlers<J>,
  onJob: (kind: string, input: unknown) => void = () => undefined,
): JobRunner<J> {
  return {
    run: async (kind, input, options) => {
      await new Promise((resolve) => setImmediate(resolve));
      onJob(kind, input);
      const parts: J[typeof kind]['part'][] = [];
      const emit = (part: J[typeof kind]['part']): void => void parts.push(part);
      const out = handlers[kind](input, {emit, transfer: () => undefined, isCancelled: () => false});
      for (const part of parts) await options?.onPart?.(part);
      return out;
    },
  };
}
