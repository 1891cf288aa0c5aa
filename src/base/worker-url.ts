/**
 * Finds a worker's entry beside the importing file, in the sources (`.ts`) and in the build (`.js`) alike.
 */

/**
 * @param url `new URL('./name.worker.ts', import.meta.url)`
 * @returns the same URL with the ending that the running code has
 */
export function workerUrl(url: URL): URL {
  return import.meta.url.endsWith('.js') ? new URL(url.href.replace(/\.ts$/, '.js')) : url;
}
