/**
 * Ends several things, whatever becomes of each: what stays open could not be opened again.
 */

/** @throws the first error, after all have ended */
export async function endAll(ends: readonly (() => unknown)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const end of ends) {
    try {
      await end();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** As `endAll`, side by side. */
export async function endTogether(ends: readonly (Promise<unknown> | undefined)[]): Promise<void> {
  const ended = await Promise.allSettled(ends.filter((end) => end !== undefined));
  for (const end of ended) if (end.status === 'rejected') throw end.reason;
}
