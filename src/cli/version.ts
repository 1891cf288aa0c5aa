/**
 * Which Towline this is, from the package it belongs to.
 */
import {existsSync, readFileSync} from 'node:fs';
import {release} from 'node:os';

/** `0.1.0` */
export function version(): string {
  // Two levels up in the sources, one in the bundled build.
  const url = ['../../package.json', '../package.json'].map((path) => new URL(path, import.meta.url)).find(existsSync);
  return url === undefined ? 'unknown' : (JSON.parse(readFileSync(url, 'utf8')) as {version: string}).version;
}

/** What a bug report must name. */
export function versionsForReport(): string {
  return `towline ${version()}, Node.js ${process.versions.node}, Linux ${release()} ${process.arch}`;
}
