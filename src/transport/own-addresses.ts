/**
 * Under which addresses this host can be reached by others, as far as it knows them itself.
 */
import {networkInterfaces, type NetworkInterfaceInfo} from 'node:os';
import type {HostPort} from '../config/agent-config.ts';
import {ADDRESSES_MAX} from './pairing-code.ts';

const ANY = ['::', '0.0.0.0'];

/**
 * @param listening where the listener is bound, with its real port
 * @returns for "all addresses" those of the interfaces (IPv4 first, no link-local ones), else the one it is bound to
 */
export function ownAddresses(
  listening: HostPort,
  interfaces: NodeJS.Dict<NetworkInterfaceInfo[]> = networkInterfaces(),
): HostPort[] {
  const {host, port} = listening;
  if (!ANY.includes(host)) return [listening];
  const usable = Object.values(interfaces)
    .flatMap((infos) => infos ?? [])
    .filter(({address, family}) => (host === '::' || family === 'IPv4') && !/^(fe[89ab]|169\.254\.)/i.test(address));
  const outside = usable.filter(({internal}) => !internal);
  return (outside.length > 0 ? outside : usable)
    .toSorted((a, b) => a.family.localeCompare(b.family))
    .slice(0, ADDRESSES_MAX)
    .map(({address}) => ({host: address, port}));
}
