/**
 * One process in which time, chance and the network are made up: whatever waits, waits here, and the next thing to happen
 * is drawn from a seed. The same seed tells the same story.
 */
import type {Clock} from '../../../src/base/clock.ts';
import {TowlineError} from '../../../src/base/errors.ts';
import {isCreation} from '../../../src/model/op.ts';
import type {FrameChannel} from '../../../src/session/session.ts';
import {decode} from '../../../src/wire/codec.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {randomOf, type Random} from '../mutations.ts';

const EPOCH_MS = Date.UTC(2026, 0, 1);
const DELAY_MS_MAX = 8;

interface Waiting {
  atMs: number;
  /** Chance decides between what is due at the same time. */
  order: number;
  run: () => void;
}

export class World implements Clock {
  readonly random: Random;
  readonly trace: string[] = [];
  #nowMs = 0;
  #waiting: Waiting[] = [];

  constructor(seed: number) {
    this.random = randomOf(seed);
  }

  nowMs(): number {
    return EPOCH_MS + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const forget = this.at(delayMs, resolve);
      signal?.addEventListener('abort', () => {
        forget();
        reject(signal.reason as Error);
      });
    });
  }

  /** @returns takes it back */
  at(delayMs: number, run: () => void): () => void {
    const waiting = {atMs: this.#nowMs + delayMs, order: this.random(2 ** 31), run};
    this.#waiting.push(waiting);
    return () => void (this.#waiting = this.#waiting.filter((each) => each !== waiting));
  }

  tell(line: string): void {
    this.trace.push(`${this.#nowMs} ${line}`);
  }

  /** Lets the next thing happen, and all that follows from it at once. @returns whether there was one */
  async step(): Promise<boolean> {
    const next = this.#waiting.reduce<Waiting | undefined>(
      (first, each) =>
        first === undefined || each.atMs < first.atMs || (each.atMs === first.atMs && each.order < first.order)
          ? each
          : first,
      undefined,
    );
    if (next === undefined) return false;
    this.#waiting = this.#waiting.filter((each) => each !== next);
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.run();
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    return true;
  }

  delayMs(): number {
    return this.random(20) === 0 ? this.random(400) : this.random(DELAY_MS_MAX);
  }

  /** Two ends of a connection. */
  connect(): Connection {
    return new Connection(this);
  }
}

/** A connection that can be cut: each side hears of it in its own time, and what was on its way may still arrive. */
export class Connection {
  readonly source: Pipe;
  readonly target: Pipe;

  constructor(world: World) {
    [this.source, this.target] = [new Pipe(world, 'source'), new Pipe(world, 'target')];
    [this.source.other, this.target.other] = [this.target, this.source];
  }

  cut(world: World): void {
    for (const pipe of [this.source, this.target]) world.at(world.random(30), () => pipe.lose());
  }
}

class Pipe implements FrameChannel {
  readonly peerId = 'the other end';
  readonly #world: World;
  readonly #side: string;
  bytesSent = 0;
  bytesReceived = 0;
  onFrame: ((frame: Buffer) => void) | undefined;
  onClose: ((reason: TowlineError) => void) | undefined;
  other: Pipe | undefined;
  #isOpen = true;
  #lastMs = 0;

  constructor(world: World, side: string) {
    this.#world = world;
    this.#side = side;
  }

  send(frame: Buffer, onWritten?: () => void): void {
    if (!this.#isOpen) return;
    this.bytesSent += frame.length;
    const copy = Buffer.from(frame);
    onWritten?.();
    const {other} = this;
    this.#inOrder(() => other?.take(copy));
  }

  take(frame: Buffer): void {
    if (!this.#isOpen) return;
    this.bytesReceived += frame.length;
    this.#world.tell(`${this.#side} hears ${shown(decode(frame))}`);
    const owned = Buffer.allocUnsafeSlow(frame.length); // whoever takes it may free it
    frame.copy(owned);
    this.onFrame?.(owned);
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const {other} = this;
    this.#inOrder(() => other?.lose());
  }

  lose(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#world.tell(`${this.#side} loses its connection`);
    this.onClose?.(new TowlineError('PEER_LOST', 'the connection was cut', {peer: this.peerId, idleMs: 0}));
  }

  /** The end of this side is gone: nobody hears anything any more. */
  die(): void {
    this.#isOpen = false;
  }

  #inOrder(run: () => void): void {
    const nowMs = this.#world.monotonicMs();
    this.#lastMs = Math.max(this.#lastMs + 1e-3, nowMs + this.#world.delayMs());
    this.#world.at(this.#lastMs - nowMs, run);
  }
}

/** What a message says, without what differs between two runs: inodes, digests of random numbers, times. */
function shown(message: Message): string {
  switch (message.kind) {
    case 'batch':
      return `batch ${message.ops.map((op) => `${op.kind}${isCreation(op) ? '+' : ''} ${op.path}${'to' in op ? `>${op.to}` : ''}`).join(', ')}`;
    case 'batch-result':
      return `results ${message.results.map((result) => (result.status === 'done' ? 'ok' : result.code)).join(' ')}`;
    case 'file-start':
      return `file-start ${message.path}`;
    case 'hash-files':
      return `hash-files ${message.paths.join(', ')}`;
    case 'list-nodes':
      return `list-nodes ${message.nodes.map(({path}) => path).join(', ')}`;
    case 'link-refused':
      return `link-refused ${message.code}`;
    default:
      return message.kind;
  }
}
