/** Addresses of volumes and of hosts, as people write them. */
import {describe, expect, test} from 'vitest';
import {parseAddress} from '../../../src/config/address.ts';
import {parseHostPort, parseListen, showHostPort} from '../../../src/config/host-port.ts';
import {showAddress} from '../../../src/model/address.ts';

describe('volumes', () => {
  test.each([
    ['/srv/data', '/srv/data'],
    ['path:/srv//data/./x/', '/srv/data/x'],
    ['/', '/'],
    ['/srv/docker:x', '/srv/docker:x'],
    ['docker:pgdata', 'docker:pgdata'],
    [`docker:${'0a'.repeat(32)}`, `docker:${'0a'.repeat(32)}`], // an anonymous volume
    ['podman:v', 'podman:v'],
    ['docker-container:web_1:/var/www/', 'docker-container:web_1:/var/www'],
    ['podman-container:web:/a:b', 'podman-container:web:/a:b'],
  ])('%s is %s', (text, shown) => {
    expect(showAddress(parseAddress(text))).toBe(shown);
    expect(parseAddress(shown)).toEqual(parseAddress(text));
  });

  test.each([
    ...['', 'data', './data', '../x', 'path:', 'path:x', '/srv/../etc', '/a\0b', `/${'x'.repeat(4_096)}`],
    ...['docker:', 'docker:v', 'docker:-v', 'docker:a/b', 'docker:a:b', `docker:${'a'.repeat(256)}`, 'podman:../x'],
    ...['docker-container:web', 'docker-container:web:', 'docker-container::/x', 'docker-container:web:x'],
    ...['docker-container:web:/x/../y', 'lxc:web', 'both:x', 'db-2:pgdata'],
  ])('%j is refused', (text) => {
    expect(() => parseAddress(text)).toThrow(expect.objectContaining({code: 'USAGE'}));
  });
});

describe('hosts', () => {
  test.each([
    ['db-2.internal:7421', 'db-2.internal', 7421],
    ['db-2.internal', 'db-2.internal', 7420],
    ['10.0.0.1:1', '10.0.0.1', 1],
    ['[fd00::2]:65535', 'fd00::2', 65_535],
    ['[fe80::1%eth0]', 'fe80::1%eth0', 7420],
    ['under_score.local.:7', 'under_score.local.', 7],
  ])('%s is %s port %d', (text, host, port) => {
    expect(parseHostPort(text)).toEqual({host, port});
    expect(parseHostPort(showHostPort({host, port}))).toEqual({host, port});
  });

  test.each([
    ...[
      '',
      ':7420',
      '7420',
      'a:',
      'a:0',
      'a:65536',
      'a:b',
      'fd00::2',
      '[fd00::2',
      '[10.0.0.1]:1',
      '10.0.0:1',
      '256.1.1.1',
    ],
    ...['a b:1', '-a:1', 'a..b', 'user@host:1', 'http://a:1', 'a/b:1', `${'a'.repeat(254)}:1`, 'a:1:2', '[::1]x'],
  ])('%j is refused', (text) => {
    expect(() => parseHostPort(text)).toThrow(expect.objectContaining({code: 'USAGE'}));
  });

  test('a listener may take all addresses, and any free port', () => {
    expect(parseListen(':7421')).toEqual({host: '::', port: 7421});
    expect(parseListen('[::]:0')).toEqual({host: '::', port: 0});
    expect(parseListen('0.0.0.0')).toEqual({host: '0.0.0.0', port: 7420});
    expect(() => parseListen('')).toThrow('HOST:PORT');
    expect(() => parseListen('7420')).toThrow('a port alone is written :7420');
  });
});
