/**
 * Sends one large file outside batches: its delta against what the target has, leaf by leaf, until it is staged there.
 *
 * States and their edges are in STATES.md. Invariant: a file is reported staged only when the peer said so for the very
 * content that was read as one version.
 */
import type {JobRunner} from '../base/jobs.ts';
import {SignatureCollector} from '../delta/signature-parts.ts';
import {blockBytesFor, type Signature} from '../delta/signature.ts';
import {DELTA_BYTES_MAX, DELTA_BYTES_MIN} from '../delta/block.ts';
import {sameDigest, type Digest} from '../model/digest.ts';
import type {FileTime, Seen, StatMeta} from '../model/entry.ts';
import type {OpResult} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import type {Reading} from '../model/reading.ts';
import type {MessageOf} from '../wire/messages.ts';
import {HeldLeaves, type HeldWindow} from './held-leaves.ts';
import type {LinkSession} from './link-port.ts';

/** Numbers of volume/read-files.ts, which this folder may not tie to a worker: the port below says what it needs. */
export const READ_STATUS = {ok: 0, changed: 1, vanished: 2, unreadable: 3} as const;

interface LeavesRead {
  status: number;
  errno: number;
  frames: Uint8Array[];
  literalBytes: number;
  copiedBytes: number;
  needsWeak: boolean;
  /** Of the file, in all. */
  leavesRead: number;
  end: LastLeaf | undefined;
}

/** What is known once the last leaf was read (volume/read-transfer.ts). */
interface LastLeaf {
  content: Uint8Array;
  signature: Signature | undefined;
  isTorn: boolean;
  isCurrent: boolean;
  mtime: FileTime;
}

export type OpenedVersion = StatMeta & {sizeBytes: number; isExpected: boolean};

export type LargeFileJobs = {
  'open-transfer': {
    in: {
      token: number;
      file: {path: RelPath; expected: Seen};
      reading: Reading;
      base: Signature | undefined;
      seed: Uint8Array;
      link: number;
      transfer: number;
      extents?: {reserveShare: number; base: Uint8Array | undefined; hasRuns: boolean} | undefined;
    };
    out: {
      status: number;
      errno: number;
      allocatedBytes: number;
      as: Reading;
      version: OpenedVersion | undefined;
      extents?: 'changes' | 'refused' | undefined;
    };
    part: never;
  };
  'give-base': {in: {token: number; base: Signature; seed: Uint8Array}; out: undefined; part: never};
  'give-weak': {in: {token: number; weak: Uint8Array | undefined}; out: undefined; part: never};
  'read-leaves': {
    in: {token: number; leafCount: number; held?: HeldWindow | undefined};
    out: LeavesRead;
    part: never;
  };
  'read-leaf': {in: {token: number; leafIndex: number}; out: LeavesRead; part: never};
  'close-transfer': {in: {token: number}; out: undefined; part: never};
};

/** Where the blocks of a file's clones tell what has changed in it, so that not all of it is read (volume/kept-versions.ts). */
export interface ExtentsPort {
  /** While no more than this share of the filesystem is free, no clone is kept. */
  readonly reserveShare: number;
  /** Between two clones of a file. */
  readonly pauseMs: number;
  /** A clone may be kept from now on. */
  onKept(): void;
  /** The filesystem makes no clones, or does not tell where blocks lie. */
  onRefused(): void;
}

export interface LargeFileParts {
  session: LinkSession;
  jobs: JobRunner<LargeFileJobs>;
  signatures: {get(content: Digest): Signature | undefined; put(content: Digest, signature: Signature): void};
  seed: Buffer;
  onBytes(literalBytes: number, copiedBytes: number): void;
  /** Without it all of a file is read each time. */
  extents?: ExtentsPort | undefined;
  /** Whether the content that was read of the version that was asked for may go to the target. */
  accepts?: (content: Digest) => boolean;
}

export interface LargeFileOptions {
  link: number;
  transfer: number;
  path: RelPath;
  expected: Seen;
  reading: Reading;
  /** The file on the target that a delta is made against, with its content where it is known. */
  base: {path: RelPath; sizeBytes: number; content: Digest} | undefined;
  /** Whether the target may have a part of it: it is asked what. */
  mayBeHeld?: boolean;
}

type Opened = LargeFileJobs['open-transfer']['out'];
type Refusal = Extract<OpResult, {status: 'failed'}>;

export interface ReadFile {
  content: Digest;
  /** Its size where it has no holes. */
  allocatedBytes: number;
  /** It was read from a clone, for its blocks to tell: it was not given up when the file changed meanwhile. */
  isByExtents: boolean;
  /** What was read, where it was read as it was then; else it is the version that was asked for, at rest. */
  hot?: {
    as: Reading;
    version: OpenedVersion;
    isTorn: boolean;
    /** Whether the file was still this version once it was read. */
    isCurrent: boolean;
    /** Of the file, at the end. */
    mtime: FileTime;
  };
}

export type LargeFileOutcome =
  | ({kind: 'staged'} & ReadFile)
  /** Nothing had to be sent: the target has this content. */
  | ({kind: 'equal'} & ReadFile)
  | {kind: 'unread'; status: number; errno: number}
  | {kind: 'refused'; result: Refusal}
  /** What was read is not to be sent; why was told. */
  | {kind: 'kept-back'};

/** Why a transfer ended before the file was staged. */
type Failed = Extract<LargeFileOutcome, {kind: 'unread' | 'refused'}>;

const LEAVES_PER_JOB = 8; // 2 MiB: a job of a few ms, so that smaller work gets its turn
const LEAF_RETRIES_MAX = 64; // more, and the base is not what it was: the whole file goes, literal
const TOO_MANY_REJECTED: Refusal = {
  status: 'failed',
  code: 'base-changed',
  message: 'the target has another base than it had',
};

let lastToken = 0; // links to several peers read one volume, and each numbers its transfers from 1

export class LargeFile {
  /** What the volume's worker knows it by. */
  readonly #token = ++lastToken;
  readonly #options: LargeFileOptions;
  readonly #parts: LargeFileParts;
  readonly #staged = Promise.withResolvers<OpResult>();
  readonly #rejected: number[] = [];
  #rejection = Promise.withResolvers<undefined>();
  #retries = 0;
  #isAborted = false;
  #as: Reading = 'at-rest';
  #refusal: Refusal | undefined;

  constructor(options: LargeFileOptions, parts: LargeFileParts) {
    this.#options = options;
    this.#parts = parts;
    this.#staged.promise.catch(() => undefined);
  }

  /** The peer's messages about this transfer. */
  take(message: MessageOf<'leaf-rejected'> | MessageOf<'file-staged'>): void {
    if (message.kind === 'file-staged') {
      if (message.result.status === 'failed') this.#refusal = message.result;
      this.#staged.resolve(message.result);
    } else {
      this.#rejected.push(message.leafIndex);
      this.#rejection.resolve(undefined);
    }
  }

  /** Whether it is read as it is now: others need not wait until it has arrived, as it will not be the last version. */
  get isHot(): boolean {
    return this.#options.reading !== 'at-rest';
  }

  /**
   * The file changed or went away: what was sent is dropped.
   * @param isChange it is the same file in another version, which does no harm to one that is read as it is
   */
  abort(isChange: boolean): void {
    if (!isChange || this.#as === 'at-rest') this.#isAborted = true;
  }

  /** Runs the transfer to its end. @throws the reason why the session ended */
  async run(): Promise<LargeFileOutcome> {
    const {link, transfer, path, expected, reading, base} = this.#options;
    const {session, jobs, seed, extents} = this.#parts;
    const signature = base === undefined || extents !== undefined ? undefined : await this.#baseSignature(base, false);
    const token = this.#token;
    this.#as = reading;
    const {reserveShare} = extents ?? {reserveShare: 0};
    const by = extents && {reserveShare, base: base?.content, hasRuns: session.speaks('same-leaves')};
    const input = {token, file: {path, expected}, reading, base: signature, seed, link, transfer, extents: by};
    const opened = await jobs.run('open-transfer', input, {lane: 1});
    if (opened.status !== READ_STATUS.ok || opened.version === undefined)
      return {kind: 'unread', status: opened.status, errno: opened.errno};
    this.#as = opened.as;
    if (opened.extents === 'refused') extents?.onRefused();
    try {
      return await this.#send(opened, opened.version, signature !== undefined || (await this.#compares(opened)));
    } finally {
      await jobs.run('close-transfer', {token}, {lane: 1});
      if (opened.as === 'clone') extents?.onKept(); // also where what was read did not arrive
    }
  }

  /** Where its blocks could not tell what has changed, the base's sums do. @returns whether it is a delta */
  async #compares({extents: told}: Opened): Promise<boolean> {
    const {base} = this.#options;
    const {jobs, seed, extents} = this.#parts;
    if (told === 'changes') return true;
    const signature = extents === undefined || base === undefined ? undefined : await this.#baseSignature(base, false);
    if (signature === undefined) return false;
    await jobs.run('give-base', {token: this.#token, base: signature, seed}, {lane: 1});
    return true;
  }

  async #send(opened: Opened, version: OpenedVersion, isDelta: boolean): Promise<LargeFileOutcome> {
    const {link, transfer, path, reading, base} = this.#options;
    const {session, extents} = this.#parts;
    const started = base === undefined || !isDelta ? undefined : {path: base.path, content: base.content};
    const {sizeBytes} = version;
    const allocatedBytes = opened.allocatedBytes < sizeBytes ? opened.allocatedBytes : undefined;
    session.send({kind: 'file-start', link, transfer, path, sizeBytes, base: started, allocatedBytes});
    const read = await this.#sendLeaves(opened.extents !== 'changes');
    if ('kind' in read) {
      session.send({kind: 'file-abort', link, transfer});
      return read;
    }
    const isByExtents = extents !== undefined && opened.as === 'clone';
    const {content, isTorn, isCurrent, mtime} = read;
    const isExpected = reading === 'at-rest' || (version.isExpected && !isTorn);
    if (isExpected && this.#parts.accepts?.(content) === false) {
      session.send({kind: 'file-abort', link, transfer});
      return {kind: 'kept-back'};
    }
    const hot = reading === 'at-rest' ? {} : {hot: {as: opened.as, version, isTorn, isCurrent, mtime}};
    const file = {content, allocatedBytes: opened.allocatedBytes, isByExtents, ...hot};
    if (started !== undefined && sameDigest(content, base?.content)) {
      session.send({kind: 'file-abort', link, transfer});
      return {kind: 'equal', ...file};
    }
    session.send({kind: 'file-end', link, transfer, content});
    const failed = await this.#untilStaged();
    if (failed === undefined) return {kind: 'staged', ...file};
    session.send({kind: 'file-abort', link, transfer});
    return failed;
  }

  /**
   * Sends every leaf, one job read ahead.
   * @param isAllRead what the target has already is asked for: else little is sent anyway
   * @returns the content, or why the transfer ended before
   */
  async #sendLeaves(
    isAllRead: boolean,
  ): Promise<(Omit<LastLeaf, 'signature' | 'content'> & {content: Digest}) | Failed> {
    const {jobs, signatures, session} = this.#parts;
    const token = this.#token;
    const {link, transfer} = this.#options;
    const isHeld = isAllRead && this.#options.mayBeHeld === true && session.speaks('resume');
    const heldLeaves = isHeld ? new HeldLeaves({link, transfer}, {session}) : undefined;
    const next = async (leafIndex: number): Promise<LeavesRead> => {
      const held = await heldLeaves?.from(leafIndex);
      return jobs.run('read-leaves', {token, leafCount: LEAVES_PER_JOB, held}, {lane: 1});
    };
    let reading = next(0);
    for (;;) {
      const read = await reading;
      if (this.#isAborted) return {kind: 'unread', status: READ_STATUS.changed, errno: 0};
      if (this.#refusal !== undefined) return {kind: 'refused', result: this.#refusal};
      if (read.status !== READ_STATUS.ok) return {kind: 'unread', status: read.status, errno: read.errno};
      this.#parts.onBytes(read.literalBytes, read.copiedBytes);
      if (read.needsWeak) await this.#giveWeak();
      if (read.end === undefined) reading = next(read.leavesRead);
      reading.catch(() => undefined);
      for (const frame of read.frames)
        await session.sendData(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength), false);
      const failed = await this.#resend();
      if (failed !== undefined) return failed;
      if (read.end === undefined) continue;
      const content = Buffer.from(read.end.content);
      if (read.end.signature !== undefined) signatures.put(content, buffers(read.end.signature));
      const {isTorn, isCurrent, mtime} = read.end;
      return {content, isTorn, isCurrent, mtime};
    }
  }

  /** Leaves that did not have their digest on the target go once more, literal. */
  async #resend(): Promise<Failed | undefined> {
    const {jobs, session} = this.#parts;
    this.#rejection = Promise.withResolvers<undefined>();
    for (let leafIndex = this.#rejected.shift(); leafIndex !== undefined; leafIndex = this.#rejected.shift()) {
      if (++this.#retries > LEAF_RETRIES_MAX) return {kind: 'refused', result: TOO_MANY_REJECTED};
      const read = await jobs.run('read-leaf', {token: this.#token, leafIndex}, {lane: 1});
      if (read.status !== READ_STATUS.ok) return {kind: 'unread', status: read.status, errno: read.errno};
      this.#parts.onBytes(read.literalBytes, 0);
      for (const frame of read.frames)
        await session.sendData(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength), false);
    }
    return undefined;
  }

  /** Waits for the peer's verdict; leaves that it rejects meanwhile go once more. @returns why it was not staged */
  async #untilStaged(): Promise<Failed | undefined> {
    const over = this.#parts.session.closed.then((reason) => Promise.reject(reason));
    over.catch(() => undefined);
    for (;;) {
      const result = await Promise.race([this.#staged.promise, this.#rejection.promise, over]);
      if (result?.status === 'failed') return {kind: 'refused', result};
      if (result !== undefined) return undefined;
      const failed = await this.#resend();
      if (failed !== undefined) return failed;
    }
  }

  /** The base's strong sums: remembered from when it was sent, else asked from the target, which has it. */
  async #baseSignature(base: NonNullable<LargeFileOptions['base']>, mustAsk: boolean): Promise<Signature | undefined> {
    if (base.sizeBytes < DELTA_BYTES_MIN || base.sizeBytes > DELTA_BYTES_MAX) return undefined;
    const known = mustAsk ? undefined : this.#parts.signatures.get(base.content);
    return known ?? (await this.#askSignature(base));
  }

  async #giveWeak(): Promise<void> {
    const {base} = this.#options;
    const signature = base === undefined ? undefined : await this.#baseSignature(base, true);
    await this.#parts.jobs.run('give-weak', {token: this.#token, weak: signature?.weak}, {lane: 1});
  }

  async #askSignature(base: NonNullable<LargeFileOptions['base']>): Promise<Signature | undefined> {
    const {session, seed} = this.#parts;
    const {link} = this.#options;
    const blockBytes = blockBytesFor(base.sizeBytes);
    const collector = new SignatureCollector({blockBytes, sizeBytes: base.sizeBytes, withWeak: true});
    let signature: Signature | undefined;
    await session.ask(
      (request) => ({kind: 'ask-signature', link, request, path: base.path, content: base.content, blockBytes, seed}),
      (answer) => {
        if (answer.kind === 'signature') signature = collector.add(answer.rows);
        return answer.kind === 'no-signature' || signature !== undefined;
      },
    );
    return signature;
  }
}

/** Structured clone turns Buffers into plain Uint8Arrays. */
function buffers(signature: Signature): Signature {
  const {strong, weak} = signature;
  return {
    ...signature,
    strong: Buffer.from(strong.buffer, strong.byteOffset, strong.byteLength),
    weak: Buffer.from(weak.buffer, weak.byteOffset, weak.byteLength),
  };
}
