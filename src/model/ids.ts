/**
 * Maps numeric owners: ranges of ids of the source to ids of the target, for uids and gids alike, and for those that
 * ACLs name. An id in no range stays what it is. Pure.
 *
 * In a view a range is written `FROM-TO:TARGET`: FROM becomes TARGET, the next TARGET + 1, and so on.
 */
import {ACCESS_ACL, decodeAttrs, DEFAULT_ACL, encodeAttrs, type Attrs} from './attrs.ts';

/** Both ends included. */
export interface IdRange {
  from: number;
  to: number;
  target: number;
}

export const ID_MAX = 0xffff_fffe; // 0xffffffff is no id: to chown(2) it means "leave as it is"
export const ID_RANGES_MAX = 256;

const RANGE = /^(\d{1,10})(?:-(\d{1,10}))?$/;

/**
 * @param range `0-999`, or one id: `33`
 * @param target the id that the first becomes
 * @returns the range, or what is wrong with it as the end of a sentence
 */
export function parseIdRange(range: string, target: string): IdRange | string {
  const found = RANGE.exec(range);
  if (found === null) return `${range} is no id and no range of ids like 0-999`;
  if (!/^\d{1,10}$/.test(target)) return `${target} is no id`;
  const [from, to, first] = [Number(found[1]), Number(found[2] ?? found[1]), Number(target)];
  if (from > to) return `${range} begins above its end`;
  if (to > ID_MAX) return `${range} reaches beyond ${ID_MAX}, the highest id`;
  if (first + (to - from) > ID_MAX) return `${range} from ${target} on reaches beyond ${ID_MAX}, the highest id`;
  return {from, to, target: first};
}

/** Two ranges that have an id in common, or more ranges than can be told to a peer: as the end of a sentence. */
export function idRangesFault(ranges: readonly IdRange[]): string | undefined {
  if (ranges.length > ID_RANGES_MAX) return `${ranges.length} ranges; allowed are ${ID_RANGES_MAX}`;
  const sorted = ranges.toSorted((a, b) => a.from - b.from);
  for (const [index, range] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next !== undefined && next.from <= range.to) return `${spell(range)} and ${spell(next)} overlap`;
  }
  return undefined;
}

function spell({from, to}: IdRange): string {
  return from === to ? String(from) : `${from}-${to}`;
}

/** As a view has them, in one order. */
export function idsOfRanges(ranges: readonly IdRange[]): string[] {
  return ranges.toSorted((a, b) => a.from - b.from).map(({from, to, target}) => `${from}-${to}:${target}`);
}

/** @param ids of a view, well formed */
export function rangesOfIds(ids: readonly string[]): IdRange[] {
  return ids.flatMap((text) => {
    const [range = '', target = ''] = text.split(':');
    const parsed = parseIdRange(range, target);
    return typeof parsed === 'string' ? [] : [parsed];
  });
}

export class IdMap {
  readonly #ranges: readonly IdRange[];

  /** @param ids of a view */
  constructor(ids: readonly string[]) {
    this.#ranges = rangesOfIds(ids);
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  map(id: number): number {
    for (const {from, to, target} of this.#ranges) if (id >= from && id <= to) return target + (id - from);
    return id;
  }

  /** Attributes with the ids of their ACLs mapped. */
  mapAttrs(attrs: Attrs): Attrs {
    if (attrs.length === 0 || this.isEmpty) return attrs;
    const list = decodeAttrs(attrs);
    if (!list.some(({name}) => name === ACCESS_ACL || name === DEFAULT_ACL)) return attrs;
    return encodeAttrs(
      list.map(({name, value}) => {
        const isAcl = name === ACCESS_ACL || name === DEFAULT_ACL;
        return {name, value: isAcl ? this.#mapAcl(value) : value};
      }),
    );
  }

  /** Source: posix_acl_xattr.h: u32 version 2, then entries of u16 tag, u16 permissions, u32 id. */
  #mapAcl(acl: Buffer): Buffer {
    if (acl.length < 4 || acl.readUInt32LE(0) !== ACL_VERSION || (acl.length - 4) % ACL_ENTRY_BYTES !== 0) return acl;
    const mapped = Buffer.from(acl);
    for (let at = 4; at < acl.length; at += ACL_ENTRY_BYTES) {
      const tag = acl.readUInt16LE(at);
      if (tag === ACL_USER || tag === ACL_GROUP) mapped.writeUInt32LE(this.map(acl.readUInt32LE(at + 4)), at + 4);
    }
    return mapped;
  }
}

const ACL_VERSION = 2;
const ACL_ENTRY_BYTES = 8;
const ACL_USER = 2;
const ACL_GROUP = 8;
