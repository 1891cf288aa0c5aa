/**
 * What the schema found wrong, as faults with a place in the text and one sentence each.
 */
import type {z} from 'zod';
import {twoWayError} from './address.ts';
import {KNOWN_KEYS, type Place} from './agent-schema.ts';
import {nearestWord} from './nearest-word.ts';
import {showText} from './schema-leaves.ts';
import {type Fault, type KeyPath, type PlainValue, valueAt, type YamlSource} from './yaml-source.ts';

type Issue = z.core.$ZodIssue;

/** Keys that a later version will know. */
const LATER: Partial<Record<Place, readonly string[]>> = {
  top: ['docker', 'repositories', 'snapshots'],
  agent: ['api', 'timezone'],
  volume: ['mounts', 'quiesce', 'snapshot', 'labels'],
  send: ['mounts', 'quiesce', 'schedule'],
  hooks: ['before-batch', 'after-batch', 'on-halt', 'on-problem', 'on-in-sync'],
  receive: ['keep'],
  limit: ['schedule'],
  limits: ['memory', 'signatures'],
};
const TWO_WAY = ['both', 'conflicts', 'two-way'];
/** Keys of a volume that the receiving agent's configuration decides. */
const OF_RECEIVER = ['trash', 'drift', 'replace', 'accept'];
/** Keys of a volume that are the same for all of its links. */
const OF_VOLUME = ['hooks'];

/** @param top how the source's own top is called: the whole configuration, or a file of peers.d */
export function schemaFaults(error: z.ZodError, source: YamlSource, top: 'top' | 'peer'): Fault[] {
  return error.issues.flatMap((issue) => faultsOf(issue, [], source, top));
}

function faultsOf(issue: Issue, before: KeyPath, source: YamlSource, top: 'top' | 'peer'): Fault[] {
  const path = [...before, ...issue.path];
  const value = valueAt(source.value, path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => source.faultAtKey([...path, key], unknownKey(key, placeOf(path, top))));
    case 'invalid_union': {
      const meant = issue.errors.find((branch) => !branch.some((inner) => isWrongKind(inner)));
      if (meant === undefined) return [source.faultAt(path, foundInstead(value, issue.message))];
      return meant.flatMap((inner) => faultsOf(inner, path, source, top));
    }
    case 'invalid_key':
      return [
        source.faultAtKey(path, `found ${showText(String(path.at(-1)))}; allowed is ${issue.issues[0]?.message}`),
      ];
    case 'invalid_type': {
      const allowed = issue.expected === 'object' || issue.expected === 'record' ? 'a map of keys' : issue.message;
      return [source.faultAt(path, foundInstead(value, allowed))];
    }
    case 'too_big':
      return [source.faultAt(path, `too many; allowed is ${issue.message}`)];
    default:
      return [source.faultAt(path, issue.message)];
  }
}

function isWrongKind(issue: Issue): boolean {
  return issue.code === 'invalid_type' && issue.path.length === 0;
}

function foundInstead(value: PlainValue, allowed: string): string {
  if (value === undefined) return `is missing; allowed is ${allowed}`;
  const found = typeof value === 'string' ? showText(value) : Array.isArray(value) ? 'a list' : 'a map';
  return `found ${found}; allowed is ${allowed}`;
}

function unknownKey(key: string, place: Place): string {
  const shown = showText(key);
  if (TWO_WAY.includes(key)) return twoWayError().message;
  if (LATER[place]?.includes(key) === true) return `${shown} comes in a later version`;
  if (place === 'send' && OF_RECEIVER.includes(key)) return `${shown} is set at the volume of the agent that receives`;
  if ((place === 'send' || place === 'receive') && OF_VOLUME.includes(key))
    return `${shown} is set at the volume, for all of its links`;
  if (place === 'receive' && OF_RECEIVER.includes(key)) return `${shown} is set at the volume, beside receive`;
  const nearest = nearestWord(key, KNOWN_KEYS[place]);
  const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`;
  return `unknown key ${shown}${hint} (allowed are ${KNOWN_KEYS[place].join(', ')})`;
}

/** Which keys are known at a path: `volumes.*.send[*]` is a send link. */
function placeOf(path: KeyPath, top: 'top' | 'peer'): Place {
  const [first, , third, fourth] = path;
  const last = path.at(-1);
  if (path.length === 0) return top;
  if (first === 'agent') return 'agent';
  if (first === 'peers') return 'peer';
  if (first === 'limits') return 'limits';
  if (first === 'engines') return path.length === 1 ? 'engines' : 'engine';
  const isInner =
    last === 'guard' ||
    last === 'trash' ||
    last === 'limit' ||
    last === 'replace' ||
    last === 'accept' ||
    (last === 'hooks' && path.length === 3);
  if (path.length > 2 && isInner) return last;
  if (third === 'hooks') return 'hook';
  if (third === 'send' && fourth !== undefined) return 'send';
  return third === 'receive' ? 'receive' : 'volume';
}
