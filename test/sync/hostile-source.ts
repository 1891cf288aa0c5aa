/**
 * A source that means harm: a real target with its workers, its TLS and its WebSocket, and frames of the test's making.
 *
 * Invariant: what the target's folder looked like before can be asked for after, by find.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {onTestFinished} from 'vitest';
import type {TowlineError} from '../../src/base/errors.ts';
import {DEFAULTS} from '../../src/config/link-settings.ts';
import {TargetEnd} from '../../src/daemon/target-end.ts';
import {PLAIN_VIEW, viewDigest} from '../../src/model/view.ts';
import type {Channel} from '../../src/transport/channel.ts';
import {dial} from '../../src/transport/dial.ts';
import {createIdentity} from '../../src/transport/identity.ts';
import {decode, encode} from '../../src/wire/codec.ts';
import type {Message, MessageKind, MessageOf} from '../../src/wire/messages.ts';
import {OWN_TERMS} from '../../src/wire/negotiate.ts';
import {makeTmpDir} from '../tmp.ts';
import {command} from './harness.ts';

const LIMITS = {count: 10_000, share: 0.5, shareFrom: 20};
const FRAME_BYTES_HOSTILE = 64 * 1024 * 1024;

const HELLO: Message = {
  kind: 'hello',
  ...OWN_TERMS,
  features: [...OWN_TERMS.features],
  name: 'hostile',
  instance: Buffer.alloc(16, 1),
};

export const OPEN_LINK: MessageOf<'open-link'> = {
  kind: 'open-link',
  link: 1,
  volume: 'sync',
  mode: 'mirror',
  epoch: 1,
  ackedSeq: 0,
  view: PLAIN_VIEW,
  viewDigest: viewDigest(PLAIN_VIEW),
  isDryRun: false,
  isDurable: false,
  confirmedDeletes: 0,
};

export class HostileHost {
  readonly target: string;
  readonly notices: string[] = [];
  readonly #end: TargetEnd;
  readonly #identities: Awaited<ReturnType<typeof createIdentity>>[];
  #port = 0;

  private constructor(base: string, identities: Awaited<ReturnType<typeof createIdentity>>[]) {
    this.target = join(base, 'target');
    mkdirSync(this.target, {recursive: true});
    this.#identities = identities;
    this.#end = new TargetEnd(
      {
        volume: 'sync',
        rootPath: this.target,
        stateFolder: join(base, 'state'),
        isDryRun: false,
        isDurable: false,
        deleteLimits: LIMITS,
        view: PLAIN_VIEW,
        accept: DEFAULTS.accept,
        trashKeepMs: 3_600_000,
        inPlaceAbove: undefined,
      },
      {onNotice: (message) => this.notices.push(message)},
    );
  }

  /** @param fill makes the target's tree before it is looked at */
  static async start(fill: (target: string) => void): Promise<HostileHost> {
    const identities = [await createIdentity(), await createIdentity()];
    const host = new HostileHost(makeTmpDir(), identities);
    fill(host.target);
    onTestFinished(() => host.#end.close());
    host.#port = await host.#end.listen(identities[0]!, identities[1]!.id);
    return host;
  }

  get staging(): string {
    return this.#end.places.staging;
  }

  /** Everything below the target, with inode, size, times and content. */
  snapshot(): string {
    const names = command('find', this.target, '-printf', '%P %y %s %i %T@ %m\n');
    return names + command('find', this.target, '-type', 'f', '-exec', 'sha256sum', '{}', '+');
  }

  /** A new connection, which replaces the one before. */
  async connect(): Promise<HostileSource> {
    const [server, client] = this.#identities;
    const channel = await dial(
      {identity: client!, host: '127.0.0.1', port: this.#port, peerId: server!.id},
      {frameBytesMax: FRAME_BYTES_HOSTILE},
    );
    return new HostileSource(channel);
  }
}

/** One connection. What it hears is kept. */
export class HostileSource {
  readonly channel: Channel;
  readonly heard: Message[] = [];
  /** Why the other side ended it. */
  readonly ended: Promise<TowlineError>;
  #wake: () => void = () => {};

  constructor(channel: Channel) {
    this.channel = channel;
    this.ended = new Promise((resolve) => {
      channel.onClose = (reason) => {
        resolve(reason);
        this.#wake();
      };
    });
    channel.onFrame = (frame) => {
      this.heard.push(decode(Buffer.from(frame)));
      this.#wake();
    };
  }

  send(message: Message | Buffer): void {
    this.channel.send(Buffer.isBuffer(message) ? message : encode(message));
  }

  hello(): this {
    this.send(HELLO);
    return this;
  }

  async open(): Promise<this> {
    this.hello().send(OPEN_LINK);
    await this.hears('link-opened');
    return this;
  }

  /** The first message of a kind, once it is there. @throws when the connection ends before */
  async hears<K extends MessageKind>(kind: K): Promise<MessageOf<K>> {
    for (;;) {
      const index = this.heard.findIndex((message) => message.kind === kind);
      if (index >= 0) return this.heard.splice(index, 1)[0] as MessageOf<K>;
      if (!this.channel.isOpen) throw new Error(`the connection ended before ${kind}: ${(await this.ended).message}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** What the other side said of the breach before it closed. */
  async fault(): Promise<MessageOf<'fault'> | undefined> {
    await this.ended;
    return this.heard.find((message) => message.kind === 'fault');
  }
}
