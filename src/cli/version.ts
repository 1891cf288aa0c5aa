/**
 * Which Towline this is, from the package it belongs to.
 */
import {readFileSync} from 'node:fs';
import {release} from 'node:os';

/** `0.1.0` */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as {version: string}).version;
}

/** What a bug report must name. */
export function versionsForReport(): string {
  return `towline ${version()}, Node.js ${process.versions.node}, Linux ${release()} ${process.arch}`;
}
