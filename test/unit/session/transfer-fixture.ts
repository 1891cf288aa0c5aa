/**
 * A source and a target with real folders, real jobs and a real session between them, for one large file at a time.
 */
import {closeSync, mkdirSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {onTestFinished} from 'vitest';
import {PartialFiles} from '../../../src/apply/partial-files.ts';
import {stagedHandlers, type StagedJobs} from '../../../src/apply/staged-transfers.ts';
import type {ScopeHandlers} from '../../../src/base/jobs.ts';
import {systemClock, type Clock} from '../../../src/base/clock.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {blockBytesFor, type Signature} from '../../../src/delta/signature.ts';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {statAt} from '../../../src/linux/stat.ts';
import {contentDigest, LEAF_BYTES, sha256, type Digest} from '../../../src/model/digest.ts';
import type {Entry} from '../../../src/model/entry.ts';
import type {Reading} from '../../../src/model/reading.ts';
import {LargeFile, type ExtentsPort, type LargeFileOptions} from '../../../src/session/large-file.ts';
import {ReceiveFiles} from '../../../src/session/receive-files.ts';
import {Session, type FrameChannel} from '../../../src/session/session.ts';
import type {TargetTree} from '../../../src/session/target-tree.ts';
import {openJournalStore} from '../../../src/state/journal-store.ts';
import {newKeptFiles} from '../../../src/volume/kept-content.ts';
import {transferHandlers} from '../../../src/volume/read-transfer.ts';
import type {TransferJobs} from '../../../src/volume/transfer-jobs.ts';
import {decode, encode} from '../../../src/wire/codec.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {makeTmpDir} from '../../tmp.ts';
import {channelPair} from './channel-pair.ts';
import {runHere} from './run-here.ts';
import {signatureOf} from '../delta/signature-of.ts';

await loadXxhash();
const SEED = Buffer.alloc(8, 7);

/** A source and a target volume, each with the handlers of one scope; several links may use them at once. */
export class Volumes {
  readonly source: string;
  readonly target: string;
  readonly staging: string;
  readonly sourceFd: number;
  readonly targetFd: number;
  readonly kept = newKeptFiles();
  readonly sourceHandlers: ScopeHandlers<TransferJobs>;
  readonly targetHandlers: ScopeHandlers<StagedJobs>;
  /** As the target's state has them, of its first run or of a later one. */
  partials: PartialFiles | undefined;
  readonly journal = openJournalStore({place: ':memory:', bootId: ''});

  /** @param source a folder on another filesystem, as `staging` and `target` */
  constructor(source: string = makeTmpDir(), staging: string = makeTmpDir(), target: string = makeTmpDir()) {
    this.source = source;
    this.target = target;
    this.targetFd = openFolder(target);
    this.staging = staging;
    this.sourceFd = openFolder(source);
    const places = {stagingFd: openFolder(this.staging), trashFd: openFolder(makeTmpDir()), reserve: 0};
    this.sourceHandlers = transferHandlers((job) => job({fd: this.sourceFd, mountId: 0}), this.kept);
    this.targetHandlers = stagedHandlers((job) => job({fd: this.targetFd, mountId: 0}, places));
    onTestFinished(() => this.journal.close());
  }

  /** Keeps parts from now on, as a process that has just started does. */
  keepParts(clock: Clock = systemClock, onJob?: (kind: string) => void): this {
    const jobs = runHere(this.targetHandlers.handlers, onJob);
    this.partials = new PartialFiles({journal: () => this.journal, jobs, clock});
    return this;
  }
}

export class Transfers {
  readonly volumes: Volumes;
  readonly source: string;
  readonly target: string;
  readonly staging: string;
  /** Called with the kind of each job before it runs. */
  onJob: (kind: string) => void = () => undefined;
  readonly heard: Message[] = [];
  readonly files: ReceiveFiles;
  /** What the source's state says of the content of the version that was asked for. */
  accepts: ((content: Digest) => boolean) | undefined;
  /** Set where extent maps are to tell what has changed. */
  extents: ExtentsPort | undefined;
  literalBytes = 0;
  copiedBytes = 0;
  /** Called with what the source hears, before it takes it. */
  onHeard: (message: Message) => void = () => undefined;
  readonly #signatures = new Map<string, Signature>();
  readonly #known = new Map<string, Entry>();
  readonly #session: Session;
  #running: LargeFile | undefined;

  /** @param volumes those of another link; @param options `isOld`: the target’s agent names no features */
  constructor(volumes: Volumes = new Volumes(), {isOld = false}: {isOld?: boolean} = {}) {
    this.volumes = volumes;
    ({source: this.source, target: this.target, staging: this.staging} = volumes);
    const [left, right] = channelPair();
    if (isOld) nameNoFeatures(right);
    this.#session = new Session({name: 'source'}, {channel: left});
    const session = new Session({name: 'target'}, {channel: right});
    this.files = new ReceiveFiles(
      {link: 1, isDurable: false, inPlaceAbove: undefined},
      {
        session,
        jobs: runHere(volumes.targetHandlers.handlers, (kind) => this.onJob(kind)),
        tree: {
          dirIdOf: (path) => (path === '' ? 1 : undefined),
          get: (_, name) => this.#known.get(name),
        } as TargetTree,
        clock: systemClock,
        partials: volumes.partials,
        onError: (error) => session.close(String(error)),
      },
    );
    session.onMessage = (message, frame) => {
      if (message.kind === 'file-start') return this.files.start(message);
      if (message.kind === 'file-leaves') return this.files.writeLeaves(message, frame);
      if (message.kind === 'file-holes') return this.files.passHoles(message);
      if (message.kind === 'file-same') return this.files.passSame(message);
      if (message.kind === 'ask-leaves') return this.files.answerHeld(message);
      if (message.kind === 'file-end') return this.files.end(message.transfer, message.content);
      if (message.kind === 'file-abort') return this.files.drop(message.transfer);
      return undefined;
    };
    this.#session.onMessage = (message) => {
      this.heard.push(message);
      this.onHeard(message);
      if (message.kind === 'leaf-rejected' || message.kind === 'file-staged') this.#running?.take(message);
    };
    onTestFinished(() => this.#session.close('the test is over'));
  }

  /** The connection is lost, and both ends have noticed it. */
  async lose(): Promise<void> {
    this.#session.close('cut');
    await this.files.close();
  }

  async ready(): Promise<this> {
    await this.#session.ready();
    return this;
  }

  /** A file that both sides believe the target to have; `actual` is what its disk makes of it. */
  believe(name: string, bytes: Buffer, actual = bytes): NonNullable<LargeFileOptions['base']> {
    writeFileSync(join(this.target, name), actual);
    const content = contentOf(bytes);
    const stat = statAt(openFolder(this.target), name);
    this.#known.set(name, {...stat, name, content} as Entry);
    const options = {blockBytes: blockBytesFor(bytes.length), seed: SEED, withWeak: true};
    this.#signatures.set(content.toString('hex'), signatureOf(bytes, options));
    return {path: name, sizeBytes: bytes.length, content};
  }

  /** Writes the source's file, around its zeros if it shall have holes, and sends it. */
  send(
    file: {
      name: string;
      bytes: Buffer;
      transfer: number;
      hasHoles?: boolean;
      reading?: Reading;
      mayBeHeld?: boolean;
      /** Makes it what it is to be, where not all of it is to be written. */
      write?: (path: string) => void;
    },
    base: LargeFileOptions['base'],
  ): ReturnType<LargeFile['run']> {
    const {name: path, bytes, transfer, mayBeHeld = false} = file;
    const sourcePath = join(this.source, path);
    if (file.write !== undefined) file.write(sourcePath);
    else if (file.hasHoles === true) writeAround(sourcePath, bytes);
    else writeFileSync(sourcePath, bytes);
    const expected = statAt(this.volumes.sourceFd, path);
    this.#running = new LargeFile(
      {link: 1, transfer, path, expected, reading: file.reading ?? 'at-rest', base, mayBeHeld},
      {
        session: this.#session,
        jobs: runHere(this.volumes.sourceHandlers.handlers, (kind) => this.onJob(kind)),
        signatures: {
          get: (content) => this.#signatures.get(content.toString('hex')),
          put: (content, signature) => void this.#signatures.set(content.toString('hex'), signature),
        },
        seed: SEED,
        ...(this.accepts && {accepts: this.accepts}),
        extents: this.extents,
        onBytes: (literalBytes, copiedBytes) => {
          this.literalBytes += literalBytes;
          this.copiedBytes += copiedBytes;
        },
      },
    );
    return this.#running.run();
  }

  /** Of a staged file, what it takes. */
  stagedBlocks(transfer: number): number | undefined {
    const staged = this.files.staged.get(transfer);
    return staged === undefined ? undefined : statSync(join(this.staging, staged.stage)).blocks * 512;
  }

  stagedBytes(transfer: number): Buffer | undefined {
    const staged = this.files.staged.get(transfer);
    return staged === undefined ? undefined : readFileSync(join(this.staging, staged.stage));
  }
}

/** What it says of itself is what an agent of an older version says. */
function nameNoFeatures(channel: FrameChannel): void {
  const send = channel.send.bind(channel);
  channel.send = (frame, onWritten) => {
    const message = decode(frame);
    send(message.kind === 'hello' ? encode({...message, features: []}) : frame, onWritten);
  };
}

function writeAround(path: string, bytes: Buffer): void {
  writeFileSync(path, '');
  truncateSync(path, bytes.length);
  const fd = openSync(path, 'r+');
  for (let at = 0; at < bytes.length; at += 4096) {
    const block = bytes.subarray(at, at + 4096);
    if (block.some((byte) => byte !== 0)) writeSync(fd, block, 0, block.length, at);
  }
  closeSync(fd);
}

export function contentOf(bytes: Buffer): Digest {
  const leaves: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += LEAF_BYTES) leaves.push(sha256(bytes.subarray(at, at + LEAF_BYTES)));
  return contentDigest(Buffer.concat(leaves));
}

function openFolder(path: string): number {
  mkdirSync(path, {recursive: true});
  const fd = openDirPath(path);
  onTestFinished(() => closeFd(fd));
  return fd;
}
