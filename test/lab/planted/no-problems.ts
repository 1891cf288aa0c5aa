/** What an operation that failed leads to, with a planted bug: it is no problem of its path, it ends the run. */
export * from '../../../src/apply/failure.ts';

export function failureFrom(error: unknown): never {
  throw new Error('planted', {cause: error});
}
