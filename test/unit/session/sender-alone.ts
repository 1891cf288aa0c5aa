/**
 * A sender between a state that is a map and a target that answers as a test says. What is sent is decoded as the target
 * would do it. For what the sender decides: which operations leave, in which batches, and what waits.
 */
import {systemClock} from '../../../src/base/clock.ts';
import {DIGEST_BYTES, sha256} from '../../../src/model/digest.ts';
import {sameInode, type Entry} from '../../../src/model/entry.ts';
import type {Op, OpResult} from '../../../src/model/op.ts';
import type {RelPath} from '../../../src/model/path.ts';
import {zeroStats} from '../../../src/model/status.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import {READ_STATUS} from '../../../src/session/large-file.ts';
import type {FilesRead, HotPort, SenderParts} from '../../../src/session/send-item.ts';
import {Sender} from '../../../src/session/sender.ts';
import {decode} from '../../../src/wire/codec.ts';

export interface SenderAloneOptions {
  hot?: HotPort;
  /** What the target says of an operation; `done` where nothing is said. */
  answer?: (op: Op) => OpResult | undefined;
  /** What runs while a batch is on its way. */
  meanwhile?: (ops: readonly Op[]) => void;
}

export class SenderAlone {
  readonly entries = new Map<RelPath, Entry>();
  readonly batches: Op[][] = [];
  readonly failed: string[] = [];
  readonly sender: Sender;
  /** Questions about single paths. */
  lookups = 0;

  constructor({hot, answer = () => undefined, meanwhile = () => undefined}: SenderAloneOptions = {}) {
    const session = {
      sendData: async (frame: Buffer): Promise<void> => {
        const message = decode(frame);
        if (message.kind !== 'batch') return;
        const {batch, ops} = message;
        this.batches.push(ops);
        setImmediate(() => {
          meanwhile(ops);
          const results = ops.map((op) => answer(op) ?? {status: 'done' as const});
          this.sender.take({kind: 'batch-result', link: 1, batch, results});
        });
      },
    } as unknown as SenderParts['session'];
    this.sender = new Sender(
      {link: 1, view: PLAIN_VIEW, isDryRun: false},
      {
        session,
        jobs: {
          run: async (kind, input) => (kind === 'read-files' ? this.#read(input as ReadIn) : pending()),
        },
        store: {
          entryAt: (path) => {
            this.lookups++;
            return this.entries.get(path);
          },
          namesOf: (entry) =>
            [...this.entries].flatMap(([path, each]) => (sameInode(each, entry) ? [path] : [])).sort(),
          setContentOf: () => true,
          pathWith: () => undefined,
          countOfSize: () => 0,
        },
        clock: systemClock,
        stats: zeroStats(),
        seed: Buffer.alloc(8),
        signatures: {get: () => undefined, put: () => undefined},
        events: {
          onApplied: () => undefined,
          onFailed: (path, code) => void this.failed.push(`${code} ${path}`),
        },
        hot,
      },
    );
  }

  /** What has left, as `kind path`, in order. */
  readonly sent = (): string[] => this.batches.flat().map(({kind, path}) => `${kind} ${path}`);

  /** Every file holds its path. */
  #read({files}: ReadIn): FilesRead {
    const bytes = files.map(({path, expected}) => Buffer.alloc(expected.sizeBytes, path));
    return {
      status: new Uint8Array(files.length).fill(READ_STATUS.ok),
      errno: new Int32Array(files.length),
      allocated: Float64Array.from(files, ({expected}) => expected.sizeBytes),
      digests: new Uint8Array(
        Buffer.concat(
          bytes.map((each) => sha256(each)),
          files.length * DIGEST_BYTES,
        ),
      ),
      bytes: new Uint8Array(Buffer.concat(bytes)),
    };
  }
}

interface ReadIn {
  files: {path: RelPath; expected: {sizeBytes: number}}[];
}

/** A transfer that never ends. */
function pending(): Promise<never> {
  return new Promise(() => undefined);
}
