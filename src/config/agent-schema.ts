/**
 * What may stand in a configuration, key by key: the schema that checks it, and the one that editors read.
 *
 * Shapes and single values only: what needs two values to be judged (names that must exist, cycles) is in
 * check-links.ts. Invariant: a key is in here only when this version does what it says; every leaf says what is allowed.
 */
import {isAbsolute} from 'node:path';
import {z} from 'zod';
import {isTowlineError} from '../base/errors.ts';
import {XATTR_CLASSES} from '../model/attrs.ts';
import {idRangesFault, idsOfRanges, parseIdRange} from '../model/ids.ts';
import {NAME, NAME_ALLOWED} from '../model/name.ts';
import {compileIgnore} from '../reconcile/ignore.ts';
import {isTwoWay, parseAddress, twoWayError} from './address.ts';
import type {When} from './agent-config.ts';
import {parseHostPort, parseListen} from './host-port.ts';
import {
  absolutePath,
  attempt,
  count,
  duration,
  leaf,
  name,
  notAllowed,
  NUMBER_OR_TEXT,
  oneOf,
  raise,
  rate,
  refuseNul,
  Sentence,
  showText,
  size,
} from './schema-leaves.ts';
import {inPlaceSizes, parseCount, parseDuration, parseInPlaceSize, parseShare} from './units.ts';

export const SETTLE_MS_MAX = 3_600_000;
export const MAX_WAIT_MS_MAX = 86_400_000;
export const RESCAN_MS_MIN = 1_000; // a scan must have time to end
export const RESCAN_MS_MAX = 86_400_000;
const EVERY_MS_MIN = 1_000;
const EVERY_MS_MAX = 366 * 86_400_000;
export const UNLIMITED_COUNT = Number.MAX_SAFE_INTEGER; // not Infinity: it must survive JSON
const RESERVE_MAX = 0.9; // more, and nothing could ever be copied
const HOOK_MS_MIN = 100;
const HOOK_MS_MAX = 3_600_000;
const ARGV_WORDS_MAX = 100;
const WORKERS_MIN = 2; // one for short jobs, one for long ones
const WORKERS_MAX = 16;

function parseWhen(text: string): When {
  if (text === 'live') return {kind: 'live'};
  const every = /^every\s+(\S+)$/.exec(text);
  if (every !== null) {
    const everyMs = parseDuration(every[1]!);
    if (everyMs < EVERY_MS_MIN || everyMs > EVERY_MS_MAX) throw notAllowed('live, or every 1s to every 366d');
    return {kind: 'every', everyMs};
  }
  if (/^(@\w+|([\d*,/LW#?-]|[A-Z]{3})+(\s+\S+){4,5})$/i.test(text)) {
    throw new Sentence(
      `found ${showText(text)}: cron expressions come in a later version; allowed is live or every 15m`,
    );
  }
  throw notAllowed();
}

function parseShareAllowed(text: string): number {
  return attempt(() => parseShare(text)) ?? raise(notAllowed());
}

function parseReserve(text: string): number {
  const share = parseShareAllowed(text);
  return share <= RESERVE_MAX ? share : raise(notAllowed());
}

const id = () =>
  leaf(
    "an agent's ID, 64 hex digits as towline id prints it",
    (text) => {
      if (!/^[0-9a-f]{64}$/i.test(text)) throw notAllowed();
      return text.toLowerCase();
    },
    {type: ['string', 'number'], pattern: '^[0-9A-Fa-f]{64}$'},
  );

const guard = z.strictObject({
  'delete-share': leaf('a share from 0% to 100%; 100% is never exceeded', parseShareAllowed).optional(),
  'delete-count': leaf(
    'a count of entries, or none',
    (text) => (text === 'none' ? UNLIMITED_COUNT : (attempt(() => parseCount(text)) ?? raise(notAllowed()))),
    NUMBER_OR_TEXT,
  ).optional(),
  'share-from': count(0, 1e9, 'a count of deletes that the share is not judged below').optional(),
});

const trash = z.strictObject({
  keep: duration(0, 3_650 * 86_400_000).optional(),
  size: size().optional(),
});

const inPlace = z.strictObject({
  'in-place-above': leaf(inPlaceSizes(), parseInPlaceSize, NUMBER_OR_TEXT),
});
const HOW_TO_REPLACE = 'atomic, or a map with in-place-above';
const atomic = leaf(HOW_TO_REPLACE, (text) => (text === 'atomic' ? text : raise(notAllowed())));
const replace = z.union([atomic, inPlace], {error: () => HOW_TO_REPLACE});

/** A program and its words, as they are: no shell reads them. */
const argv = z
  .array(leaf('a word of a command', refuseNul), {
    error: () => "a list of words, like [/usr/local/bin/freeze, '--now']",
  })
  .max(ARGV_WORDS_MAX, {error: () => `at most ${ARGV_WORDS_MAX} words`});

const hook = z
  .union(
    [
      argv,
      z.strictObject({
        run: argv,
        timeout: duration(HOOK_MS_MIN, HOOK_MS_MAX).optional(),
        'on-failure': oneOf(['stop', 'warn']).optional(),
      }),
    ],
    {
      error: () => 'a list of words, or a map with run',
    },
  )
  .transform((found) => (Array.isArray(found) ? {run: found} : found))
  .superRefine(({run: [program]}, context) => {
    if (program === '' || (program?.includes('/') === true && !isAbsolute(program)))
      context.addIssue({
        code: 'custom',
        message: `found ${showText(program)}; allowed is a program's name, or its absolute path`,
      });
  });

const hooks = z.strictObject({quiesce: hook.optional(), resume: hook.optional()});

const limit = z.strictObject({rate: rate().optional()});

const truth = () =>
  leaf(
    'true or false',
    (text) => {
      if (text !== 'true' && text !== 'false') throw notAllowed();
      return text === 'true';
    },
    {type: ['string', 'boolean']},
  );

const accept = z.strictObject({
  setuid: truth().optional(),
  devices: truth().optional(),
  owners: oneOf(['any', 'none']).optional(),
  xattrs: z
    .array(oneOf(XATTR_CLASSES), {error: () => `a list of ${XATTR_CLASSES.join(', ')}`})
    .transform((classes) => XATTR_CLASSES.filter((each) => classes.includes(each)))
    .optional(),
});

/** `{"0-999": 100000}`: ranges of owners, judged together. */
const ids = z
  .record(
    z.string(),
    leaf('the id that the first of the range becomes', (text) => text, NUMBER_OR_TEXT),
    {
      error: () => 'a map of ranges to ids, like {"0-999": 100000}',
    },
  )
  .transform((map, context) => {
    const parsed = Object.entries(map).map(([range, target]) => parseIdRange(range, target));
    const ranges = parsed.filter((range) => typeof range !== 'string');
    const fault = parsed.find((range) => typeof range === 'string') ?? idRangesFault(ranges);
    if (fault === undefined) return idsOfRanges(ranges);
    context.addIssue({code: 'custom', message: fault});
    return z.NEVER;
  });

const pattern = leaf('a pattern in gitignore syntax', (text) => {
  compileIgnore([text]);
  return text;
});

/** What a link may set for itself; its volume sets it for all. */
const linkSettings = {
  when: leaf('live or every 15m', parseWhen, {examples: ['live', 'every 15m']}).optional(),
  watch: oneOf(['auto', 'inotify', 'chokidar']).optional(),
  ignore: z
    .array(pattern, {error: () => 'a list of patterns in gitignore syntax'})
    .superRefine((patterns, context) => {
      try {
        compileIgnore(patterns);
      } catch (error) {
        if (!isTowlineError(error)) throw error;
        context.addIssue({code: 'custom', message: error.message});
      }
    })
    .optional(),
  special: oneOf(['keep', 'skip']).optional(),
  ids: ids.optional(),
  settle: duration(0, SETTLE_MS_MAX).optional(),
  'max-wait': duration(0, MAX_WAIT_MS_MAX).optional(),
  hot: oneOf(['wait', 'torn']).optional(),
  extents: oneOf(['on', 'off']).optional(),
  rescan: duration(RESCAN_MS_MIN, RESCAN_MS_MAX).optional(),
  durability: oneOf(['batch', 'none']).optional(),
  guard: guard.optional(),
  limit: limit.optional(),
};

const sendLink = z.strictObject({
  to: name("a peer's name"),
  as: name('the name of the volume there').optional(),
  ...linkSettings,
});
const receiveLink = z.strictObject({
  from: name("a peer's name"),
  'pin-ignore': leaf('64 hex digits, as towline config show prints them', (text) => {
    if (!/^[0-9a-f]{64}$/i.test(text)) throw notAllowed();
    return text.toLowerCase();
  }).optional(),
});

const volume = z.strictObject({
  at: leaf(
    'an absolute path, docker:NAME, docker-container:NAME:/mount, podman:NAME or podman-container:NAME:/mount',
    (text) => {
      if (isTwoWay(text)) throw new Sentence(twoWayError().message);
      return parseAddress(text);
    },
  ),
  send: z
    .array(z.union([name("a peer's name"), sendLink], {error: () => "a peer's name, or a map with to"}), {
      error: () => 'a list of peers, like [db-2]',
    })
    .max(256, {error: () => 'at most 256 links'})
    .optional(),
  receive: z.union([name("a peer's name"), receiveLink], {error: () => "a peer's name, or a map with from"}).optional(),
  ...linkSettings,
  trash: trash.optional(),
  drift: oneOf(['repair', 'report']).optional(),
  replace: replace.optional(),
  accept: accept.optional(),
  hooks: hooks.optional(),
});

const peer = z.strictObject({
  id: id(),
  address: leaf('HOST:PORT, like db-2.internal:7420 or [fd00::2]:7420', parseHostPort).optional(),
});

const agent = z.strictObject({
  name: name('the name of this agent, for people').optional(),
  listen: leaf('HOST:PORT, like [::]:7420, or :7420 for all addresses of this host', parseListen).optional(),
  state: absolutePath('the absolute path of a folder for state').optional(),
});

const limits = z.strictObject({
  workers: count(WORKERS_MIN, WORKERS_MAX, `a count from ${WORKERS_MIN} to ${WORKERS_MAX}`).optional(),
  rate: rate().optional(),
  reserve: leaf(`a share from 0% to ${RESERVE_MAX * 100}%`, parseReserve).optional(),
  'chokidar-entries': count(0, 1e9, 'a count of entries').optional(),
});

const engine = z.strictObject({socket: absolutePath("the absolute path of the engine's socket")});
const engines = z.strictObject({docker: engine.optional(), podman: engine.optional()});

const names = z.string().regex(NAME, {error: () => NAME_ALLOWED});

export const configSchema = z.strictObject({
  agent: agent.optional(),
  peers: z.record(names, peer).optional(),
  volumes: z.record(names, volume).optional(),
  limits: limits.optional(),
  engines: engines.optional(),
});

/** What a file of peers.d holds: a peer, or the note that it was removed (see peer-files.ts). */
export const peerFileSchema = z.strictObject({
  ...peer.shape,
  removed: leaf('the time at which the peer was removed', (text) => {
    if (!/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text)) throw notAllowed();
    return text;
  }).optional(),
});

export type RawConfig = z.output<typeof configSchema>;
export type RawVolume = z.output<typeof volume>;
export type RawSendLink = z.output<typeof sendLink>;

/** The keys that may stand at each place; places have the names of `placeOf` in schema-faults.ts. */
export const KNOWN_KEYS = {
  top: Object.keys(configSchema.shape),
  agent: Object.keys(agent.shape),
  peer: Object.keys(peer.shape),
  volume: Object.keys(volume.shape),
  send: Object.keys(sendLink.shape),
  receive: Object.keys(receiveLink.shape),
  guard: Object.keys(guard.shape),
  trash: Object.keys(trash.shape),
  limit: Object.keys(limit.shape),
  replace: Object.keys(inPlace.shape),
  accept: Object.keys(accept.shape),
  hooks: Object.keys(hooks.shape),
  hook: ['run', 'timeout', 'on-failure'],
  limits: Object.keys(limits.shape),
  engines: Object.keys(engines.shape),
  engine: Object.keys(engine.shape),
};

export type Place = keyof typeof KNOWN_KEYS;

/** JSON Schema (draft 7, which editors know) of a configuration, as text. */
export function editorSchema(): string {
  const schema = z.toJSONSchema(configSchema, {io: 'input', target: 'draft-7', reused: 'inline'});
  const {$schema, ...rest} = schema;
  const head = {$schema, title: 'Towline configuration', description: 'towline.yaml of one agent'};
  return `${JSON.stringify({...head, ...rest}, null, 2)}\n`;
}
