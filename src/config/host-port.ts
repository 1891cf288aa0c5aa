/**
 * HOST:PORT as people write it, with IPv6 in brackets. Names are not looked up here.
 */
import {isIPv4, isIPv6} from 'node:net';
import {TowlineError} from '../base/errors.ts';
import type {HostPort} from './agent-config.ts';

export const PORT = 7420;
const PORT_MAX = 65_535;
const NAME_CHARS_MAX = 253; // RFC 1035, 2.3.4, without the last point
const LABEL = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/**
 * Where to reach somebody.
 * @param text `db-2.internal:7420`, `10.0.0.1`, `[fd00::2]:7420`; without a port it is 7420
 * @throws TowlineError USAGE
 */
export function parseHostPort(text: string): HostPort {
  const {host, port} = split(text);
  if (host === '' || port === 0)
    throw wrong(text, 'HOST:PORT, like db-2.internal:7420, 10.0.0.1:7420 or [fd00::2]:7420');
  return {host, port};
}

/**
 * Where to listen.
 * @param text as above, or `:7420` for all addresses of this host; port 0 takes any free one
 * @throws TowlineError USAGE
 */
export function parseListen(text: string): HostPort {
  const {host, port} = split(text);
  return {host: host === '' ? '::' : host, port};
}

/** `db-2.internal:7420`, `[fd00::2]:7420` */
export function showHostPort({host, port}: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function split(text: string): HostPort {
  const bracketed = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(text);
  if (bracketed !== null) {
    const host = bracketed[1]!;
    if (!isIPv6(host)) throw wrong(text, 'an IPv6 address in brackets, like [fd00::2]:7420');
    return {host, port: portOf(text, bracketed[2])};
  }
  if (isIPv6(text)) throw wrong(text, `brackets around an IPv6 address, like [${text}]:${PORT}`);
  const match = /^([^:[\]]*)(?::(\d{1,5}))?$/.exec(text);
  if (match === null || text === '') throw wrong(text, `HOST:PORT, like db-2.internal:${PORT}`);
  const [, host = '', port] = match;
  if (/^\d+$/.test(host)) throw wrong(text, `HOST:PORT; a port alone is written :${host}`);
  if (host !== '' && !isHost(host)) throw wrong(text, 'a host name or an address before the port');
  return {host, port: portOf(text, port)};
}

function isHost(host: string): boolean {
  if (/^[\d.]+$/.test(host)) return isIPv4(host);
  return (
    host.length <= NAME_CHARS_MAX &&
    host
      .replace(/\.$/, '')
      .split('.')
      .every((label) => LABEL.test(label))
  );
}

function portOf(text: string, digits: string | undefined): number {
  const port = digits === undefined ? PORT : Number(digits);
  if (port > PORT_MAX) throw wrong(text, `a port from 1 to ${PORT_MAX}`);
  return port;
}

function wrong(text: string, allowed: string): TowlineError<'USAGE'> {
  const found = JSON.stringify(text.slice(0, 80));
  return new TowlineError('USAGE', `${found} is not an address of a host: write ${allowed}`, {hint: allowed});
}
