/**
 * Waits for a thing to be seen, instead of for a time.
 */

const LOOK_EVERY_MS = 10;

/** Looks until it is true; fails when it does not come to that within `timeoutMs`. */
export async function until(isTrue: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error(`did not come to it within ${timeoutMs} ms: ${isTrue.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
