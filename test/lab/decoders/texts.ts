/** Decoders of texts: the control socket, engines, the configuration, patterns, and what is typed. */
import {parseAddress} from '../../../src/config/address.ts';
import {configSchema, peerFileSchema} from '../../../src/config/agent-schema.ts';
import {checkLinks} from '../../../src/config/check-links.ts';
import {parseHostPort, parseListen} from '../../../src/config/host-port.ts';
import {parseConfig} from '../../../src/config/load-config.ts';
import {parseTime} from '../../../src/config/times.ts';
import {parseCount, parseDuration, parseShare, parseSize} from '../../../src/config/units.ts';
import type {Fault} from '../../../src/config/yaml-source.ts';
import {readContainer, readContainerList, readEvent, readVersions, readVolume} from '../../../src/engine/answers.ts';
import {readAnswer, splitLines} from '../../../src/http/control-answers.ts';
import {ROUTES} from '../../../src/http/control-routes.ts';
import type {Reply} from '../../../src/http/reply.ts';
import {readJson} from '../../../src/http/request-fields.ts';
import {fromWire} from '../../../src/http/wire-error.ts';
import {TowlineError} from '../../../src/base/errors.ts';
import type {AgentControl} from '../../../src/control/agent-api.ts';
import {parseIdRange} from '../../../src/model/ids.ts';
import {compileIgnore} from '../../../src/reconcile/ignore.ts';
import {readFileSync} from 'node:fs';
import {mutated, mutatedJson, pick} from '../mutations.ts';
import {must, type Decoder} from './decoder.ts';

const buffers = (texts: readonly string[]): Buffer[] => texts.map((text) => Buffer.from(text));

const REQUESTS = {
  '/v1/flush': {volume: 'v', timeoutMs: 5, isRescan: true},
  '/v1/once': {volumes: ['a', 'b'], timeoutMs: 0},
  '/v1/confirm': {volume: 'v', count: 7},
  '/v1/pause': {volume: 'v'},
  '/v1/invite': {addresses: ['a:1']},
  '/v1/rotate': {isForced: true},
  '/v1/sync': {address: '/a', peer: 'p', peerVolume: 'v', isOnce: true, special: 'keep', ids: ['0-9:5']},
};
const QUERIES = ['/v1/pending?volume=v&after=x&countMax=5', '/v1/report?volume=v', '/v1/watch', '/v1/halts?volume=v'];

/** An agent that has nothing to tell, and a client that has gone already. */
const nothing = (): object => Object.assign(() => undefined, {version: '1'});
const control = new Proxy({}, {get: () => nothing}) as AgentControl;
const reply = new Proxy(
  {signal: AbortSignal.abort()},
  {
    get: (known, key) => (key === 'signal' ? known.signal : () => undefined),
  },
) as unknown as Reply;

/** The path with its query in the first line, then the body. */
const requests: Decoder = {
  name: 'control requests',
  corpus: [
    ...Object.entries(REQUESTS).map(([path, body]) => Buffer.from(`${path}\n${JSON.stringify(body)}`)),
    ...buffers(QUERIES.map((query) => `${query}\n`)),
  ],
  mutate: (material, random) => {
    const [path, body] = pick(Object.entries(REQUESTS), random);
    if (random(3) === 0) return mutated(material, random);
    const changed = mutatedJson({corpus: [Buffer.from(JSON.stringify(body))]}, random);
    return Buffer.concat([Buffer.from(`${path}\n`), changed]);
  },
  refuses: ['USAGE'],
  decode: (input) => {
    const end = input.indexOf(0x0a);
    const [path = '', query = ''] = input.toString('latin1', 0, Math.max(0, end)).split('?', 2);
    const route = ROUTES.get(path);
    if (route === undefined) return;
    const body = input.subarray(end + 1);
    return route.run(
      route.method === 'POST' ? readJson(body) : Object.fromEntries(new URLSearchParams(query)),
      control,
      reply,
    );
  },
};

const notUnderstood = (what: string): TowlineError =>
  new TowlineError('PROTOCOL', what, {rule: '', value: '', limit: ''});

const replies: Decoder = {
  name: 'control replies',
  corpus: buffers([
    '{"report":{"version":"1","volumes":[]}}\n\n{"report":{}}\n',
    '{"error":{"code":"USAGE","message":"no","details":{"hint":"x"}}}\n',
    '{"event":{"kind":"notice","level":"warn","message":"x"}}\n{"outcome":{"isDone":true}}\n',
  ]),
  words: buffers(['\n', 'null', '{"error":', '"code":"constructor"', '"code":"BUG"']),
  refuses: ['PROTOCOL'],
  decode: async (input) => {
    for await (const line of splitLines(pieces(input), notUnderstood, 4_096)) {
      must(line.length <= 4_096 + PIECE_BYTES, 'a line above the limit was given');
      if (line.length === 0) continue;
      const value = readAnswer(line.toString(), notUnderstood) as {error?: unknown};
      fromWire(value.error);
      fromWire(value);
    }
  },
};

const PIECE_BYTES = 700;

async function* pieces(input: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < input.length; at += PIECE_BYTES) yield input.subarray(at, at + PIECE_BYTES);
}

const CONTAINER = {
  Id: 'ab'.repeat(32),
  Name: '/db',
  State: {Pid: 7, Status: 'running'},
  HostConfig: {
    Tmpfs: {'/run': ''},
    Mounts: [{Target: '/data', VolumeOptions: {Subpath: 'a/../b'}}],
  },
  Mounts: [{Type: 'volume', Name: 'v', Source: '/var/lib/v/_data', Destination: '/data'}],
  HostsPath: '/x',
};
const ANSWERS = [
  CONTAINER,
  {Name: 'v', Driver: 'local', Mountpoint: '/var/lib/v/_data', Options: {type: 'nfs', o: 'addr=x'}},
  [{Id: 'ab'.repeat(32), State: 'running'}],
  {ApiVersion: '1.41', MinAPIVersion: '1.12'},
  {Type: 'volume', Action: 'mount', Actor: {ID: 'v', Attributes: {name: 'v'}}, timeNano: 1.7e18},
];

const engines: Decoder = {
  name: 'engine answers',
  corpus: ANSWERS.map((answer) => Buffer.from(JSON.stringify(answer))),
  words: buffers(['"__proto__"', 'null', '[', '{', '"/../../x"']),
  mutate: mutatedJson,
  refuses: [],
  decode: (input) => {
    let answer: unknown;
    try {
      answer = JSON.parse(input.toString());
    } catch {
      return; // told by who asked
    }
    const {mountpoint} = readVolume(answer);
    const {mounts} = readContainer(answer);
    for (const path of [mountpoint, ...mounts.flatMap(({source, destination}) => [source, destination])])
      must(path === '' || (path.startsWith('/') && !path.split('/').includes('..')), `${path} is no plain path`);
    readContainerList(answer);
    readEvent(answer);
    readVersions(answer);
  },
};

const EXAMPLE = readFileSync(new URL('../../../config/towline.example.yaml', import.meta.url), 'utf8');
const plain = EXAMPLE.replaceAll(/^ *#.*\n/gm, '');

const YAML_WORDS = buffers([
  '&a ',
  '*a',
  '<<: ',
  '- ',
  ': ',
  '? ',
  '|\n',
  '>-\n ',
  '"',
  "'",
  '{',
  '[',
  '\n---\n',
  '!!set ',
  '!x ',
  '%YAML 1.1\n',
  '\t',
  '\u2028',
  '&a [*a]',
  '__proto__: 1',
  'constructor: ',
]);

const config: Decoder = {
  name: 'configuration',
  corpus: [
    Buffer.from(plain),
    ...buffers(plain.split(/\n(?=\w)/)),
    ...buffers(['a: &x [1]\nb: *x\n', 'volumes: {}\n']),
  ],
  words: YAML_WORDS,
  refuses: [],
  inputMsMax: 2_000,
  decode: (input) => {
    const faults: Fault[] = [];
    const file = {file: 'towline.yaml', text: input.toString()};
    const parsed = parseConfig(file, configSchema, 'top', faults);
    must(parsed !== undefined || faults.length > 0, 'neither taken nor a fault');
    const known = {active: [], removed: new Map(), broken: new Set<string>()};
    if (parsed !== undefined) checkLinks({...parsed, peers: known, ownName: 'a', stateFolder: '/x'});
  },
};

const peerFiles: Decoder = {
  name: 'peer files',
  corpus: buffers([
    `id: "${'ab'.repeat(32)}"\naddress: db-2:7420\n`,
    `id: ${'ab'.repeat(32)}\nremoved: 2026-01-01T00:00:00Z\n`,
  ]),
  words: YAML_WORDS,
  refuses: [],
  inputMsMax: 2_000,
  decode: (input) => {
    const faults: Fault[] = [];
    const parsed = parseConfig({file: 'x.yaml', text: input.toString()}, peerFileSchema, 'peer', faults);
    must(parsed !== undefined || faults.length > 0, 'neither taken nor a fault');
  },
};

const PATTERNS = [
  '*.tmp',
  '/cache/',
  '!keep.tmp',
  '**/a/**/b',
  '[a-z]*[!0-9]?',
  '[[:alpha:]-z]',
  '\\*x\\ ',
  'a/**',
  '#x',
];
const PATHS = [
  'a',
  'cache/x.tmp',
  'a/'.repeat(40) + 'b',
  'a'.repeat(255),
  `${'a'.repeat(99)}/`.repeat(30) + 'x',
  'a/b\nc',
];

/** One pattern a line. */
const patterns: Decoder = {
  name: 'ignore patterns',
  corpus: buffers([...PATTERNS, PATTERNS.join('\n'), '*a'.repeat(120), '**/'.repeat(300) + 'x']),
  words: buffers(['**', '*', '[', ']', '[:', ':]', '[[:constructor:]]', '[[:alnum:]]', '\\', '!', '/', '?', '-']),
  refuses: ['USAGE'],
  decode: (input) => {
    const matcher = compileIgnore(input.toString().split('\n'));
    for (const path of PATHS) {
      matcher.isIgnored(path, false);
      matcher.ruleFor(path, true);
    }
  },
};

const typed: Decoder = {
  name: 'typed values',
  corpus: buffers([
    '500ms',
    '64MiB',
    '50%',
    '10000',
    '[fd00::2]:7420',
    'db-2.internal:7420',
    'docker-container:a:/x',
    '0-999',
  ]),
  words: buffers([':', '[', ']', '::', '.', '-', '%', 'e9', '0x', '2026-01-01T00:00:00Z']),
  refuses: ['USAGE'],
  decode: (input) => {
    const text = input.toString();
    const read = [
      parseDuration,
      parseSize,
      parseShare,
      parseCount,
      parseHostPort,
      parseListen,
      parseAddress,
      (value: string) => parseTime(value, 0),
      (value: string) => parseIdRange(value, value),
    ];
    let refused: unknown;
    for (const parse of read) {
      try {
        parse(text);
      } catch (error) {
        if (!(error instanceof TowlineError)) throw error;
        refused = error;
      }
    }
    if (refused !== undefined) throw refused;
  },
};

export const TEXT_DECODERS: readonly Decoder[] = [requests, replies, engines, config, peerFiles, patterns, typed];
