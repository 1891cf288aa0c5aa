/**
 * Which Towline this is, from the package it belongs to.
 */
import {existsSync, readFileSync} from 'node:fs';
import {release} from 'node:os';
import {join} from 'node:path';

/** `0.1.0` */
export function version(): string {
  // Two levels up in the sources, one in the bundled build.
  const path = ['../..', '..'].map((up) => join(import.meta.dirname, up, 'package.json')).find(existsSync);
  return path === undefined ? 'unknown' : (JSON.parse(readFileSync(path, 'utf8')) as {version: string}).version;
}

/** What a bug report must name. */
export function versionsForReport(): string {
  return `towline ${version()}, Node.js ${process.versions.node}, Linux ${release()} ${process.arch}`;
}
