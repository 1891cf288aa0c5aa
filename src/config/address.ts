/**
 * Addresses of volumes as people write them. Whether there is such a folder, volume or container is not looked at.
 */
import {isAbsolute, normalize} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import type {Address, EngineName} from '../model/address.ts';

const SCHEME = /^(path|docker-container|docker|podman-container|podman):/;
const PATH_CHARS_MAX = 4_096; // PATH_MAX
// What the engines accept. Sources: moby names.RestrictedNamePattern, podman libpod/define.NameRegex.
const ENGINE_NAME: Record<EngineName, RegExp> = {
  docker: /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/,
  podman: /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/,
};
const FORMS =
  'an absolute path, docker:NAME, docker-container:NAME:/mount, podman:NAME or podman-container:NAME:/mount';

/** What stands before the first colon when that is a kind of address, and the rest. */
export function splitScheme(text: string): {scheme: string | undefined; rest: string} {
  const scheme = SCHEME.exec(text)?.[1];
  return {scheme, rest: scheme === undefined ? text : text.slice(scheme.length + 1)};
}

/**
 * @param text `/srv/data`, `path:/srv/data`, `docker:pgdata`, `docker-container:web:/var/www`, and the same of podman
 * @throws TowlineError USAGE; also for relative paths, which mean something else wherever they are read
 */
export function parseAddress(text: string): Address {
  if (isTwoWay(text)) throw twoWayError();
  const {scheme, rest} = splitScheme(text);
  if (scheme === undefined || scheme === 'path') return {kind: 'path', path: parsePath(text, rest)};
  const engine: EngineName = scheme.startsWith('docker') ? 'docker' : 'podman';
  if (!scheme.endsWith('-container')) {
    if (!ENGINE_NAME[engine].test(rest)) throw wrong(text, `${engine}:NAME with a name that ${engine} allows`);
    return {kind: 'volume', engine, volume: rest};
  }
  const colon = rest.indexOf(':');
  const container = colon < 0 ? rest : rest.slice(0, colon);
  const mount = colon < 0 ? '' : rest.slice(colon + 1);
  if (!ENGINE_NAME[engine].test(container) || !isCleanPath(mount)) {
    throw wrong(text, `${scheme}:NAME:/mount, the name of a container and where it has the volume`);
  }
  return {kind: 'container', engine, container, mount: withoutLastSlash(normalize(mount))};
}

/** Whether it is `both:…`, an address of a two-way link. */
export function isTwoWay(text: string): boolean {
  return text.startsWith('both:');
}

/** The one sentence for everything that asks for two-way links. */
export function twoWayError(): TowlineError<'USAGE'> {
  const hint = 'towline sync SRC DST makes DST equal to SRC';
  return new TowlineError('USAGE', `two-way links and conflicts come in a later version; ${hint}`, {hint});
}

function parsePath(text: string, path: string): string {
  if (path === '') throw wrong(text, FORMS);
  if (!isCleanPath(path)) throw wrong(text, isAbsolute(path) ? 'an absolute path without ..' : FORMS);
  return withoutLastSlash(normalize(path));
}

function isCleanPath(path: string): boolean {
  return (
    isAbsolute(path) && path.length <= PATH_CHARS_MAX && !path.includes('\0') && !path.split('/').includes('..') // what .. is, links decide
  );
}

function withoutLastSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function wrong(text: string, allowed: string): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', `${JSON.stringify(text.slice(0, 80))} is not an address: write ${allowed}`, {
    hint: allowed,
  });
}
