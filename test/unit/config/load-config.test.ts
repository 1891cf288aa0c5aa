/** A configuration as it is read: defaults, what a link lays over its volume, bounds, who may write it. */
import {chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {loadAgentConfig} from '../../../src/config/load-config.ts';
import {needsRoot} from '../../needs.ts';
import {faultsOf, ID, load, writeConfig} from './agent-files.ts';

const PEERS = `peers:
  db-2: {id: "${ID('a')}", address: "db-2.internal:7421"}
  dr-1: {id: "${ID('B')}"}
`;

describe('what is read', () => {
  test('an empty file is an agent that only dials, with all defaults', () => {
    for (const text of ['', '# nothing\n', 'agent:\nvolumes:\npeers:\n']) {
      expect(load(text)).toMatchObject({
        name: expect.stringMatching(/^[A-Za-z0-9]/),
        listen: undefined,
        stateFolder: '/var/lib/towline',
        peers: [],
        volumes: [],
        limits: {workers: 2, rateBytes: 0, reserve: 0.05, chokidarEntries: 50_000},
        engines: [
          {engine: 'docker', socket: '/var/run/docker.sock', isConfigured: false},
          {engine: 'podman', isConfigured: false},
        ],
        notices: [],
      });
    }
  });

  test('every key of this version, with units; names that look like numbers stay names', () => {
    const config = load(`
agent: {name: web-1, listen: "[::]:7420", state: /srv/state/}
peers:
  007: {id: ${ID('1')}, address: 10.0.0.1}
volumes:
  1e3:
    at: docker-container:web:/var/www/
    send: [{to: 007, as: copy}]
    when: every 15m
    watch: inotify
    ignore: ["*.tmp", "!keep.tmp"]
    special: skip
    ids: {"33": 1033, 34-999: 100034, 0-32: 100000}
    settle: 100ms
    max-wait: 5s
    hot: torn
    extents: on
    hooks: {quiesce: {run: [/bin/freeze, 7], timeout: 5s, on-failure: warn}, resume: [thaw]}
    rescan: 2h
    durability: none
    guard: {delete-share: 30%, delete-count: 5_000, share-from: 7}
    trash: {keep: 1d, size: 1GiB}
    limit: {rate: 2MiB}
    drift: repair
    accept: {setuid: false, devices: true, owners: none, xattrs: [trusted, user]}
limits: {workers: 4, rate: 1MB, reserve: 12.5%, chokidar-entries: 10}
engines: {podman: {socket: /run/user/0/p.sock}}
`);
    const settings = {
      when: {kind: 'every', everyMs: 900_000},
      watch: 'inotify',
      ignore: ['*.tmp', '!keep.tmp'],
      special: 'skip',
      ids: ['0-32:100000', '33-33:1033', '34-999:100034'],
      settleMs: 100,
      maxWaitMs: 5_000,
      hot: 'torn',
      extents: 'on',
      rescanMs: 7_200_000,
      durability: 'none',
      deleteLimits: {share: 0.3, count: 5_000, shareFrom: 7},
      trash: {keepMs: 86_400_000, sizeBytes: 2 ** 30},
      rateBytes: 2 ** 21,
      drift: 'repair',
      accept: {setuid: false, devices: true, owners: 'none', xattrs: ['user', 'trusted']},
    };
    expect(config).toMatchObject({
      name: 'web-1',
      listen: {host: '::', port: 7420},
      stateFolder: '/srv/state',
      peers: [{name: '007', id: ID('1'), address: {host: '10.0.0.1', port: 7420}}],
      limits: {workers: 4, rateBytes: 1_000_000, reserve: 0.125, chokidarEntries: 10},
    });
    expect(config.volumes).toEqual([
      {
        name: '1e3',
        at: {kind: 'container', engine: 'docker', container: 'web', mount: '/var/www'},
        send: [{to: '007', as: 'copy', ...settings}],
        receive: undefined,
        hooks: {
          quiesce: {run: ['/bin/freeze', '7'], timeoutMs: 5_000, onFailure: 'warn'},
          resume: {run: ['thaw'], timeoutMs: 30_000, onFailure: 'stop'},
        },
        ...settings,
      },
    ]);
    expect(config.engines[1]).toEqual({engine: 'podman', socket: '/run/user/0/p.sock', isConfigured: true});
    expect(Object.isFrozen(config.volumes[0]!.send[0]!.deleteLimits)).toBe(true);
  });

  test("a link's keys lie over its volume's, also inside guard, and the volume keeps its own", () => {
    const [volume] = load(`${PEERS}
volumes:
  pg:
    at: docker:pgdata
    send: [db-2, {to: dr-1, when: every 1h, settle: 10s, guard: {delete-count: none}, ignore: [], special: keep, ids: {}}]
    guard: {delete-share: 10%}
    special: skip
    ids: {0: 1}
    accept: {devices: true}
    ignore: [a]
`).volumes;
    expect(volume!.send[0]).toMatchObject({to: 'db-2', as: 'pg', when: {kind: 'live'}, ignore: ['a'], settleMs: 50});
    expect(volume!.send[1]).toMatchObject({
      when: {kind: 'every', everyMs: 3_600_000},
      settleMs: 10_000,
      maxWaitMs: 10_000, // not said, so never below settle
      deleteLimits: {share: 0.1, count: Number.MAX_SAFE_INTEGER, shareFrom: 20},
      ignore: [],
      special: 'keep',
      ids: [],
    });
    expect(volume!.send[0]).toMatchObject({special: 'skip', ids: ['0-0:1']});
    const accept = {setuid: true, devices: true, owners: 'any', xattrs: ['user', 'acl', 'capability']};
    expect(volume).toMatchObject({accept, settleMs: 50, deleteLimits: {share: 0.1, count: 10_000}});
  });

  test('peers.d: the name of the file is the name of the peer; hidden and other files are left alone', () => {
    const config = load(`${PEERS}volumes: {pg: {at: /srv/pg, receive: {from: nas.1, pin-ignore: "${ID('C')}"}}}`, {
      'nas.1.yaml': `id: ${ID('d')}\naddress: nas:1\n`,
      '.nas.2.yaml.new': 'half',
      'notes.txt': 'anything',
    });
    expect(config.peers.map(({name, id}) => `${name} ${id[0]}`)).toEqual(['db-2 a', 'dr-1 b', 'nas.1 d']);
    expect(config.volumes[0]!.receive).toEqual({from: 'nas.1', ignorePin: ID('c')});
  });

  test('links to a removed peer are left out and said', () => {
    const text = `volumes: {pg: {at: /srv/pg, send: [gone]}, web: {at: /srv/web, receive: gone}}`;
    const config = load(text, {'gone.yaml': `id: ${ID('d')}\nremoved: 2026-11-20T13:02:11.250Z\n`});
    expect(config.peers).toEqual([]);
    expect(config.volumes).toMatchObject([
      {name: 'pg', send: []},
      {name: 'web', receive: undefined},
    ]);
    expect(config.notices).toHaveLength(2);
    expect(config.notices[0]).toMatch(/^volume pg \(.*towline.yaml:1\) names gone, which was removed at 2026-11-20/);
  });

  test('anchors are followed, --state wins, sockets come from where the engines look', () => {
    const file = writeConfig(
      'volumes:\n  a: &a {at: /srv/a, settle: 1s}\n  b: {at: docker:bb, guard: &g {delete-count: 1}}\n  c: {at: docker:cc, guard: *g}\nagent: {state: /s}',
    );
    const env = {DOCKER_HOST: 'unix:///tmp/d.sock', CONTAINER_HOST: 'tcp://h:1'};
    const config = loadAgentConfig({file, stateFolder: '/other', env});
    expect(config.stateFolder).toBe('/other');
    expect(config.volumes[2]!.deleteLimits.count).toBe(1);
    expect(config.engines[0]!.socket).toBe('/tmp/d.sock');
  });
});

describe('bounds', () => {
  test('a file above 1 MiB is not read', () => {
    expect(faultsOf(`# ${'x'.repeat(1 << 20)}`)).toEqual([expect.stringContaining('at most 1048576 are read')]);
  });

  test('aliases of aliases, and 100,000 brackets, end within a second with a sentence', () => {
    const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]'];
    for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh', 'hi', 'ij'].map((pair) => pair.split(''))) {
      bomb.push(`${to}: &${to} [${Array(10).fill(`*${from}`).join(',')}]`);
    }
    const startMs = performance.now();
    expect(faultsOf(bomb.join('\n'))).toEqual([expect.stringContaining('holds more than 200000 values')]);
    expect(faultsOf('['.repeat(100_000))[0]).toContain('is nested too deeply');
    expect(faultsOf(`a: &a x\nb: [${'*a,'.repeat(20_000)}]`).join()).toMatch(/unknown key|more than/);
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });

  test('1,001 volumes and 257 peers', () => {
    const volumes = Array.from({length: 1_001}, (_, index) => `  v${index}: {at: docker:v${index}}\n`).join('');
    expect(faultsOf(`volumes:\n${volumes}`)).toEqual([
      expect.stringContaining('volumes: found 1001 volumes; allowed are 1000'),
    ]);
    const peers = Array.from(
      {length: 257},
      (_, index) => `  p${index}: {id: "${index.toString(16).padStart(64, '0')}"}\n`,
    );
    expect(faultsOf(`peers:\n${peers.join('')}`)).toEqual([
      expect.stringContaining('found 257 peers; allowed are 256'),
    ]);
  });
});

describe('I10 files that others could change', () => {
  test('a configuration, a peer, or their folder that others may write is refused with how to fix it', () => {
    const file = writeConfig(PEERS, {'x.yaml': `id: ${ID('e')}`});
    const folder = join(dirname(file), 'peers.d');
    const message = (): string => {
      try {
        loadAgentConfig({file, env: {}});
        return 'read';
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(message()).toBe('read');
    for (const [path, mode, fine] of [
      [file, 0o666, 0o644],
      [file, 0o664, 0o600],
      [join(folder, 'x.yaml'), 0o602, 0o600],
      [folder, 0o777, 0o755],
    ] as const) {
      chmodSync(path, mode);
      expect(message()).toContain(
        `${path}: may be written by others (mode ${mode.toString(8)}); type: chmod go-w ${path}`,
      );
      chmodSync(path, fine);
      expect(message()).toBe('read');
    }
  });

  needsRoot(test)("one that belongs to another user is refused, a link to root's own is read", () => {
    const file = writeConfig('agent: {name: x}');
    const link = join(dirname(file), 'link.yaml');
    symlinkSync(file, link);
    expect(loadAgentConfig({file: link, env: {}}).name).toBe('x');
    chownSync(file, 1234, 1234);
    expect(() => loadAgentConfig({file, env: {}})).toThrow(/belongs to user 1234, who could change it; type: chown 0/);
  });

  test('what is no file, no UTF-8 or not there is one sentence', () => {
    const file = writeConfig('');
    writeFileSync(file, Buffer.from([0xff, 0xfe, 0x61]));
    expect(() => loadAgentConfig({file, env: {}})).toThrow(/is not UTF-8; save it as UTF-8/);
    mkdirSync(`${file}.d`);
    expect(() => loadAgentConfig({file: `${file}.d`, env: {}})).toThrow(/is not a plain file/);
    expect(() => loadAgentConfig({file: `${file}.none`, env: {}})).toThrow(/no such file; towline init writes one/);
  });
});
