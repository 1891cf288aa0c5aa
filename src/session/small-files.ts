/**
 * Reads the small files of a group of steps, all with one job, and says what operations become of the group.
 *
 * Sends nothing, and knows no order but that of the steps. In a dry run the files are imagined instead.
 */
import {randomBytes} from 'node:crypto';
import {DIGEST_BYTES, digestAt, LEAF_BYTES, sameDigest, type Digest} from '../model/digest.ts';
import {seenOf, type Entry} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import {READ_STATUS} from './large-file.ts';
import {
  fromOf,
  metaOp,
  noteContent,
  opsOfItem,
  putFile,
  tellUnread,
  withOldName,
  type Item,
  type Ready,
  type SenderOptions,
  type SenderParts,
} from './send-item.ts';

/** A file that was read, or is imagined in a dry run. */
interface SmallFile {
  content: Digest;
  bytes: Buffer;
  /** Its size where it has no holes. */
  allocatedBytes: number | undefined;
}

export interface GroupRead {
  ready: Ready[];
  /** What holds the files' bytes. */
  bytes: Uint8Array | undefined;
}

export class SmallFiles {
  readonly #options: SenderOptions;
  readonly #parts: SenderParts;

  /** @param options as the sender changes them */
  constructor(options: SenderOptions, parts: SenderParts) {
    this.#options = options;
    this.#parts = parts;
  }

  read(items: readonly Item[]): Promise<GroupRead> {
    return this.#options.isDryRun ? this.#imagine(items) : this.#read(items);
  }

  async #read(items: readonly Item[]): Promise<GroupRead> {
    const files = items.flatMap((item) => this.#fileOf(item));
    const wanted = files.map(({item, entry}) => ({path: item.path, expected: seenOf(entry)}));
    const read = files.length === 0 ? undefined : await this.#parts.jobs.run('read-files', {files: wanted});
    const readyOf = new Map<Item, Ready[]>();
    let at = 0;
    for (const [index, {item, entry}] of files.entries()) {
      if (read === undefined) break;
      if (read.status[index] !== READ_STATUS.ok) {
        const [status, errno] = [read.status[index] as number, read.errno[index] as number];
        tellUnread(this.#parts.events, item.path, {status, errno});
        continue;
      }
      const bytes = Buffer.from(read.bytes.buffer, read.bytes.byteOffset + at, entry.sizeBytes);
      at += entry.sizeBytes;
      const content = digestAt(read.digests, index);
      readyOf.set(item, this.#fileOps(item, entry, {content, bytes, allocatedBytes: read.allocated[index]}));
    }
    return {ready: renamesFirst(items, readyOf), bytes: read?.bytes};
  }

  /** As if the files had been read: one whose content is not known has one that nothing else has. */
  async #imagine(items: readonly Item[]): Promise<GroupRead> {
    const files = items.flatMap((item) => this.#fileOf(item));
    // The content of a file with more names is compared under the others as well, that of one that was moved decides
    // whether it is renamed: they are read.
    const isRead = (item: Item, {nlink}: Entry): boolean => nlink > 1 || fromOf(item) !== undefined;
    await this.#hash(files.filter(({item, entry}) => entry.content === undefined && isRead(item, entry)));
    const readyOf = new Map(files.map(({item, entry}) => [item, this.#imagined(item, entry)]));
    return {ready: renamesFirst(items, readyOf), bytes: undefined};
  }

  async #hash(files: {item: Item; entry: Entry}[]): Promise<void> {
    if (files.length === 0) return;
    const wanted = files.map(({item, entry}) => ({path: item.path, expected: seenOf(entry)}));
    const {status, digests} = await this.#parts.jobs.run('hash-files', {files: wanted}, {lane: 1});
    for (const [index, {entry}] of files.entries())
      if (status[index] === READ_STATUS.ok) entry.content = digestAt(digests, index);
  }

  #imagined(item: Item, entry: Entry): Ready[] {
    const content = entry.content ?? randomBytes(DIGEST_BYTES);
    const ready = this.#fileOps(item, entry, {content, bytes: Buffer.alloc(0), allocatedBytes: undefined});
    return ready.map(({item: each, op}) =>
      op.kind === 'put-file' ? {item: each, op: {...op, source: {from: 'copy', path: item.path}}} : {item: each, op},
    );
  }

  #fileOf(item: Item): {item: Item; entry: Entry}[] {
    if (item.step.kind !== 'file' || item.op !== undefined) return [];
    const entry = item.entry ?? this.#parts.store.entryAt(item.path);
    const isTooLarge = (entry?.sizeBytes ?? 0) > LEAF_BYTES && !this.#options.isDryRun;
    return entry === undefined || entry.type !== 'file' || isTooLarge ? [] : [{item, entry}];
  }

  /** What a file's content, now that it is known, makes of its step. */
  #fileOps(item: Item, entry: Entry, {content, bytes, allocatedBytes}: SmallFile): Ready[] {
    const {store} = this.#parts;
    const {path} = item;
    const have = item.step.kind === 'file' ? item.step.have : undefined;
    const twin = item.mustSend || entry.sizeBytes === 0 ? undefined : store.pathWith(content, entry.sizeBytes, path);
    if (!noteContent(this.#parts, path, {entry, content})) return [];
    const source = twin === undefined ? ({from: 'inline', bytes} as const) : ({from: 'copy', path: twin} as const);
    const op =
      have?.type === 'file' && sameDigest(content, have.content)
        ? metaOp(path, entry, have, {view: this.#options.view, allocatedBytes})
        : putFile(path, entry, content, source, {allocatedBytes});
    return withOldName(item, op, content);
  }
}

/**
 * The operations of a group in order, but that files next to each other that were moved and touched are all renamed
 * before their metadata is set: the target does in one go what does not build on each other.
 */
function renamesFirst(items: readonly Item[], readyOf: ReadonlyMap<Item, Ready[]>): Ready[] {
  const ready: Ready[] = [];
  let afterwards: Ready[] = [];
  const paths = new Set<RelPath>(); // of the renames that `afterwards` builds on
  const end = (): void => {
    ready.push(...afterwards); // of one group
    afterwards = [];
    paths.clear();
  };
  for (const item of items) {
    const [first, ...rest] = opsOfItem(item, readyOf);
    const from = fromOf(item);
    const isRename = from !== undefined && first?.op.kind === 'rename';
    if (!isRename || paths.has(from) || paths.has(item.path)) end();
    if (first !== undefined) ready.push(first);
    if (isRename) paths.add(from).add(item.path);
    (isRename ? afterwards : ready).push(...rest);
  }
  end();
  return ready;
}
