/** Every fault of a configuration, with its place: file, line, column, key, what was found, what is allowed. */
import {dirname} from 'node:path';
import {describe, expect, test} from 'vitest';
import {isTowlineError} from '../../../src/base/errors.ts';
import {loadAgentConfig} from '../../../src/config/load-config.ts';
import {faultsOf, ID, writeConfig} from './agent-files.ts';

const PEERS = `peers:
  db-2: {id: "${ID('a')}", address: "db-2.internal:7421"}
  dr-1: {id: "${ID('B')}"}
`;

const VOLUME = 'volumes:\n  pg:\n    at: /srv/pg\n    ';

describe('each fault names file, line, column, key, what was found and what is allowed', () => {
  test.each<[what: string, text: string, fault: string]>([
    ['not YAML', 'agent:\n  listen: [::]:7420', 'towline.yaml:2:15: is not YAML:'],
    ['a key twice', 'agent: {}\nagent: {}', 'towline.yaml:2:1: this key stands here twice'],
    ['two documents', 'agent: {}\n---\nagent: {}', 'a second document begins here'],
    ['an unknown tag', 'agent: {name: !env X}', 'towline.yaml:1:15: is not YAML: Unresolved tag'],
    ['an alias to itself', 'volumes: &a [*a]', 'is nested deeper than 32 levels'],
    ['a list at the top', '- a', 'towline.yaml:1:1: found a list; allowed is a map'],
    ['a text at the top', 'hello', 'towline.yaml:1:1: found "hello"; allowed is a map'],
    ['an unknown key', 'agnet: {}', 'towline.yaml:1:1: agnet: unknown key "agnet"; did you mean agent?'],
    [
      'an unknown key inside',
      `${VOLUME}settel: 1s`,
      'towline.yaml:4:5: volumes.pg.settel: unknown key "settel"; did you mean settle?',
    ],
    ['a key nobody can guess', 'agent: {zzz: 1}', 'agent.zzz: unknown key "zzz" (allowed are name, listen, state)'],
    ['__proto__', 'agent: {__proto__: {name: x}}', 'towline.yaml:1:9: agent.__proto__: unknown key'],
    ['a merge key', 'agent: {<<: {name: x}}', 'towline.yaml:1:9: agent."<<": unknown key'],
    ['a later key', 'agent: {api: 127.0.0.1:1}', 'towline.yaml:1:9: agent.api: "api" comes in a later version'],
    [
      'a later key of a volume',
      `${VOLUME}mounts: skip`,
      'towline.yaml:4:5: volumes.pg.mounts: "mounts" comes in a later version',
    ],
    ['hot', `${VOLUME}hot: cold`, 'volumes.pg.hot: found "cold"; allowed is wait or torn'],
    ['extents', `${VOLUME}extents: yes`, 'volumes.pg.extents: found "yes"; allowed is on or off'],
    [
      'a later hook',
      `${VOLUME}hooks: {on-halt: [mail]}`,
      'volumes.pg.hooks.on-halt: "on-halt" comes in a later version',
    ],
    [
      'a hook that is a line for a shell',
      `${VOLUME}hooks: {quiesce: "fsfreeze -f /srv"}`,
      'volumes.pg.hooks.quiesce: found "fsfreeze -f /srv"; allowed is a list of words, or a map with run',
    ],
    [
      'a hook by a relative path',
      `${VOLUME}hooks: {quiesce: [bin/freeze]}`,
      'volumes.pg.hooks.quiesce: found "bin/freeze"; allowed is a program\'s name, or its absolute path',
    ],
    [
      'a key of a hook',
      `${VOLUME}hooks: {quiesce: {run: [freeze], timeot: 3s}}`,
      'volumes.pg.hooks.quiesce.timeot: unknown key "timeot"; did you mean timeout?',
    ],
    [
      'hooks of one link',
      `${VOLUME}send: [{to: db-2, hooks: {}}]`,
      '"hooks" is set at the volume, for all of its links',
    ],
    ['a later key of limits', 'limits: {memory: 1GB}', 'limits.memory: "memory" comes in a later version'],
    ['special', `${VOLUME}special: some`, 'volumes.pg.special: found "some"; allowed is keep or skip'],
    ['accept that is no map', `${VOLUME}accept: all`, 'volumes.pg.accept: found "all"; allowed is a map of keys'],
    [
      'a class that there is not',
      `${VOLUME}accept: {xattrs: [usr]}`,
      'towline.yaml:4:23: volumes.pg.accept.xattrs[0]: found "usr"; allowed is user or trusted or acl or capability',
    ],
    ['setuid', `${VOLUME}accept: {setuid: 4755}`, 'volumes.pg.accept.setuid: found "4755"; allowed is true or false'],
    ['a key of accept', `${VOLUME}accept: {device: true}`, 'unknown key "device"; did you mean devices?'],
    [
      'accept inside receive',
      `${VOLUME}receive: {from: db-2, accept: {}}`,
      'volumes.pg.receive.accept: "accept" is set at the volume, beside receive',
    ],
    [
      'accept of a link',
      `${VOLUME}send: [{to: db-2, accept: {}}]`,
      'accept: "accept" is set at the volume of the agent that receives',
    ],
    ['a map that is none', `${VOLUME}ids: [1]`, 'volumes.pg.ids: found a list; allowed is a map'],
    ['no range', `${VOLUME}ids: {a-b: 1}`, 'volumes.pg.ids: a-b is no id and no range of ids like 0-999'],
    ['no target', `${VOLUME}ids: {0-9: x}`, 'volumes.pg.ids: x is no id'],
    ['a range backwards', `${VOLUME}ids: {9-0: 1}`, 'volumes.pg.ids: 9-0 begins above its end'],
    [
      'ranges that overlap',
      `${VOLUME}ids: {0-999: 100000, 999: 5}`,
      'towline.yaml:4:10: volumes.pg.ids: 0-999 and 999 overlap',
    ],
    [
      'an id beyond the highest',
      `${VOLUME}ids: {4294967295: 1}`,
      'volumes.pg.ids: 4294967295 reaches beyond 4294967294, the highest id',
    ],
    [
      'a target beyond the highest',
      `${VOLUME}ids: {0-999: 4294967000}`,
      'volumes.pg.ids: 0-999 from 4294967000 on reaches beyond 4294967294, the highest id',
    ],
    ['a schedule', `${VOLUME}limit: {schedule: {}}`, 'volumes.pg.limit.schedule: "schedule" comes in a later version'],
    ['docker labels', 'docker: {labels: true}', 'docker: "docker" comes in a later version'],
    [
      'cron',
      `${VOLUME}when: "0 3 * * *"`,
      'towline.yaml:4:11: volumes.pg.when: found "0 3 * * *": cron expressions come in a later',
    ],
    ['@daily', `${VOLUME}when: "@daily"`, 'cron expressions come in a later version'],
    [
      'a two-way address',
      'volumes: {pg: {at: both:x}}',
      'towline.yaml:1:20: volumes.pg.at: two-way links and conflicts come in a later',
    ],
    ['conflicts', `${VOLUME}conflicts: keep`, 'volumes.pg.conflicts: two-way links and conflicts'],
    [
      'no address',
      'volumes: {pg: {send: []}}',
      'towline.yaml:1:15: volumes.pg.at: is missing; allowed is an absolute path, docker:NAME',
    ],
    [
      'a relative path',
      'volumes: {pg: {at: srv/pg}}',
      'towline.yaml:1:20: volumes.pg.at: found "srv/pg"; allowed is an absolute path',
    ],
    [
      'a wrong duration',
      `${VOLUME}settle: soon`,
      'towline.yaml:4:13: volumes.pg.settle: found "soon"; allowed is a duration from 0 to 1h',
    ],
    ['a bare number', `${VOLUME}settle: 50`, 'volumes.pg.settle: found "50"; allowed is a duration'],
    ['a long settle', `${VOLUME}settle: 2h`, 'found "2h"; allowed is a duration from 0 to 1h'],
    ['a short rescan', `${VOLUME}rescan: 5ms`, 'found "5ms"; allowed is a duration from 1s to 1d'],
    [
      'a wrong size',
      `${VOLUME}trash: {size: 64M}`,
      'volumes.pg.trash.size: found "64M"; allowed is bytes, or a number with kB',
    ],
    [
      'a rate that is none',
      `${VOLUME}limit: {rate: 5}`,
      'volumes.pg.limit.rate: found "5"; allowed is bytes a second, like 1MiB, at least 1kB',
    ],
    [
      'a share above all',
      `${VOLUME}guard: {delete-share: 120%}`,
      'delete-share: found "120%"; allowed is a share from 0% to 100%',
    ],
    ['a wrong word', `${VOLUME}durability: maybe`, 'volumes.pg.durability: found "maybe"; allowed is batch or none'],
    [
      'a text for a list',
      `${VOLUME}ignore: "*.tmp"`,
      'volumes.pg.ignore: found "*.tmp"; allowed is a list of patterns',
    ],
    [
      'a pattern with a line break',
      `${VOLUME}ignore: ["a\\nb"]`,
      'towline.yaml:4:14: volumes.pg.ignore[0]: found "a\\nb"; allowed is write one pattern each',
    ],
    ['a map for a text', `${VOLUME}when: {a: 1}`, 'volumes.pg.when: found a map; allowed is live or every 15m'],
    [
      'a link that is a list',
      `${VOLUME}send: [[x]]`,
      "towline.yaml:4:12: volumes.pg.send[0]: found a list; allowed is a peer's name, or a map with to",
    ],
    ['a link without a peer', `${VOLUME}send: [{as: x}]`, 'volumes.pg.send[0].to: is missing'],
    ['an empty item', `${VOLUME}send:\n      -`, 'volumes.pg.send[0]: is missing'],
    [
      'the trash of a link',
      `${VOLUME}send: [{to: a, trash: {}}]`,
      'send[0].trash: "trash" is set at the volume of the agent that receives',
    ],
    ['receiving from nobody', `${VOLUME}receive: {pin-ignore: ${ID('a')}}`, 'volumes.pg.receive.from: is missing'],
    [
      'a pin that is none',
      `${VOLUME}receive: {from: a, pin-ignore: x}`,
      'receive.pin-ignore: found "x"; allowed is 64 hex digits',
    ],
    ['a volume that is a text', 'volumes: {pg: /srv/pg}', 'volumes.pg: found "/srv/pg"; allowed is a map of keys'],
    [
      'a wrong volume name',
      'volumes: {-pg: {at: /srv/pg}}',
      'towline.yaml:1:11: volumes.-pg: found "-pg"; allowed is a name of 1 to 63',
    ],
    ['a name of 64 letters', `volumes: {${'a'.repeat(64)}: {at: /srv/pg}}`, 'allowed is a name of 1 to 63'],
    [
      'a wrong agent name',
      'agent: {name: "a b"}',
      'towline.yaml:1:15: agent.name: found "a b"; allowed is a name of 1 to 63',
    ],
    [
      'a wrong ID',
      'peers: {a: {id: abc}}',
      'towline.yaml:1:17: peers.a.id: found "abc"; allowed is an agent\'s ID, 64 hex digits',
    ],
    ['no ID', 'peers: {a: {address: h:1}}', 'peers.a.id: is missing'],
    [
      'a wrong peer address',
      `peers: {a: {id: ${ID('a')}, address: ":7"}}`,
      'peers.a.address: found ":7"; allowed is HOST:PORT',
    ],
    [
      'a wrong listen',
      'agent: {listen: "::1"}',
      'agent.listen: found "::1"; allowed is brackets around an IPv6 address, like [::1]:7420',
    ],
    ['a relative state', 'agent: {state: var}', 'agent.state: found "var"; allowed is the absolute path'],
    ['too much in reserve', 'limits: {reserve: 95%}', 'limits.reserve: found "95%"; allowed is a share from 0% to 90%'],
    ['too many workers', 'limits: {workers: 17}', 'limits.workers: found "17"; allowed is a count from 2 to 16'],
    ['an engine without socket', 'engines: {docker: {}}', 'engines.docker.socket: is missing'],
    ['another engine', 'engines: {lxc: {}}', 'engines.lxc: unknown key "lxc" (allowed are docker, podman)'],
  ])('%s', (_, text, fault) => {
    const found = faultsOf(text);
    expect(found).toEqual([expect.stringContaining(fault)]);
    expect(found[0]).toMatch(/^towline\.yaml:\d+:\d+: /);
  });

  test.each<[what: string, text: string, fault: string]>([
    [
      'a peer that is not there',
      'send: [db2]',
      'towline.yaml:8:12: volumes.pg.send[0]: found db2, which is no peer; allowed is the name of a peer (did you mean db-2?)',
    ],
    [
      'a source that is not there',
      'receive: {from: zzz}',
      'volumes.pg.receive.from: found zzz, which is no peer; allowed is the name of a peer (db-2, dr-1)',
    ],
    ['this agent itself', 'send: [{to: web-1}]', 'volumes.pg.send[0].to: web-1 is this agent itself'],
    [
      'a cycle',
      'receive: db-2\n    send: [db-2]',
      'towline.yaml:9:12: volumes.pg.send[0]: pg is received from db-2 and sent to it: a cycle of mirrors',
    ],
    [
      'a target twice',
      'send: [db-2, {to: db-2, when: every 1h}]',
      'send[1].to: pg on db-2 is sent to by another link of this volume already',
    ],
    [
      'a wait below settle',
      'settle: 5s\n    max-wait: 1s',
      'towline.yaml:9:15: volumes.pg.max-wait: max-wait (1s) is shorter than settle (5s)',
    ],
    [
      'a wait below settle in a link',
      'max-wait: 1s\n    send: [{to: db-2, settle: 3s}]',
      'send[0].settle: max-wait (1s) is shorter than settle (3s)',
    ],
  ])('%s', (_, lines, fault) => {
    const text = `agent: {name: web-1}\n${PEERS}volumes:\n  pg:\n    at: /srv/pg\n    ${lines}\n`;
    expect(faultsOf(text)).toEqual([expect.stringContaining(fault)]);
  });

  test('two volumes on one root, to one target, and around the state folder', () => {
    const at = (name: string, rest: string): string => `  ${name}: {${rest}}\n`;
    expect(
      faultsOf(
        `${PEERS}volumes:\n${at('a', 'at: /srv/a, send: [db-2]')}${at('b', 'at: path:/srv/a/, send: [{to: db-2, as: a}]')}${at('c', 'at: /var')}${at('d', 'at: /var/lib/towline/x')}${at('e', 'at: /var/lib/towline2')}`,
      ),
    ).toEqual([
      expect.stringContaining('towline.yaml:6:11: volumes.b.at: /srv/a is volume a already; one root is one volume'),
      expect.stringContaining(
        'volumes.b.send[0].to: a on db-2 is sent to by volume a already; a target has one source',
      ),
      expect.stringContaining('volumes.c.at: holds the state folder /var/lib/towline'),
      expect.stringContaining('volumes.d.at: lies in the state folder'),
    ]);
  });

  test('all faults of all files are in one error, in order, and the first line says how many', () => {
    const text = `volumes:\n  pg: {at: x, send: [lost]}\nagent: {nmae: a}\n`;
    const file = writeConfig(text, {'lost.yaml': 'id: abc', 'b c.yaml': '', 'x.yml': ''});
    try {
      loadAgentConfig({file, env: {}});
      expect.unreachable();
    } catch (error) {
      expect(isTowlineError(error) && error.code).toBe('USAGE');
      const [first, ...lines] = (error as Error).message.split('\n');
      expect(first).toBe('5 errors in the configuration:');
      expect(lines.map((line) => line.slice(dirname(file).length + 1).split(' ')[0])).toEqual([
        'peers.d/b', // a space in its name
        'peers.d/lost.yaml:1:5:',
        'peers.d/x.yml:',
        'towline.yaml:2:12:',
        'towline.yaml:3:9:',
      ]);
    }
  });

  test('of 200 faults 50 are listed', () => {
    const faults = faultsOf(`agent:\n${Array.from({length: 200}, (_, index) => `  k${index}: 1\n`).join('')}`);
    expect(faults).toHaveLength(51);
    expect(faults.at(-1)).toBe('and 150 more');
  });

  test('a name or an ID that two peers have is a fault of the later one', () => {
    const peers = {'db-2.yaml': `id: ${ID('e')}`, 'other.yaml': `id: ${ID('a')}`, 'next.yaml': `id: ${ID('f')}`};
    expect(faultsOf(PEERS, peers)).toEqual([
      expect.stringMatching(/^peers.d\/db-2.yaml: this name has the peer db-2 of towline.yaml already/),
      expect.stringMatching(/^peers.d\/other.yaml: this ID has the peer db-2 of towline.yaml already/),
    ]);
  });
});
