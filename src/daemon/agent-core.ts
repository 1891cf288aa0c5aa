/**
 * A running agent: its listener, its peers, its volumes; takes another configuration without touching what stays equal.
 *
 * Not its control (agent-control.ts) and not its process (agent.ts). Invariant: a peer or a volume that is not in the
 * configuration any more is served no more when `apply` returns.
 */
import {randomBytes} from 'node:crypto';
import {isDeepStrictEqual} from 'node:util';
import {endAll, endTogether} from '../base/end-all.ts';
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import type {Pace} from '../base/pace.ts';
import type {AgentConfig, PeerConfig, VolumeConfig} from '../config/agent-config.ts';
import type {LinkPort} from '../session/link-port.ts';
import type {Channel} from '../transport/channel.ts';
import type {Identity} from '../transport/identity.ts';
import {listen, type Listener} from '../transport/listen.ts';
import type {Invitation} from '../transport/pairing.ts';
import {InotifyThread} from '../watch/inotify-thread.ts';
import {MappedFiles} from '../watch/mapped-files.ts';
import {FRAME_BYTES_MAX} from '../wire/limits.ts';
import type {Message, MessageOf} from '../wire/messages.ts';
import {refusePort} from '../session/refusal.ts';
import type {AgentCoreParts, AgentParts} from './agent-parts.ts';
import {AgentVolume} from './agent-volume.ts';
import {checkPeers, paceFor, readMounts} from './core-checks.ts';
import {FailOver} from './fail-over.ts';
import {Peer} from './peer.ts';
import {AGENT_STOPS} from './volume-sides.ts';
import {showHostPort} from '../config/host-port.ts';
import type {LinkEvent} from './agent-parts.ts';
import {repinPeer, storePeer, type PairedPeer} from '../config/peer-files.ts';
import {announcedId} from './agent-rotate.ts';
import {forgetRoot} from './forget-root.ts';

const STOP_MS_MAX = 3_000; // then peers are cut: whoever waits for one of them ends

export class AgentCore {
  readonly peers = new Map<string, Peer>();
  readonly volumes = new Map<string, AgentVolume>();
  readonly parts: AgentParts;
  readonly failOver: FailOver;
  #isStopping = false;
  readonly #parts: AgentCoreParts;
  readonly #instance = randomBytes(16);
  readonly #thread = new InotifyThread();
  #config: AgentConfig;
  #identity: Identity;
  #listener: Listener | undefined;
  #pace: Pace | undefined;
  #invitation: Invitation | undefined;
  #applying: Promise<unknown> = Promise.resolve();
  /** Who waits for a peer's word that it has pinned our next key. */
  readonly #pinned = new Map<string, (id: string) => void>();
  /** Of this run alone: links that the configuration does not name. */
  readonly #extra = new Map<string, AgentVolume>();

  constructor(config: AgentConfig, parts: AgentCoreParts) {
    this.#config = {...config, listen: undefined, peers: [], volumes: []};
    this.#parts = parts;
    this.#identity = parts.identity;
    this.parts = {
      clock: parts.clock,
      log: parts.log,
      stateFolder: config.stateFolder,
      file: parts.file,
      engines: parts.engines,
      watchThread: this.#thread,
      mapped: new MappedFiles({}, {clock: parts.clock}),
      pace: () => this.#pace,
      mounts: readMounts,
      jobsFor: (data) => parts.pool.scope(data),
      forgetRoot: (root, beside) => forgetRoot(root, beside),
      peer: (name) => this.peers.get(name),
      onActions: (actions) => {
        for (const action of actions) parts.actions.note(action);
        parts.actions.flush();
      },
      onChange: () => parts.onChange(),
    };
    this.failOver = new FailOver({
      ...this.parts,
      name: () => this.#config.name,
      volume: (name) => this.volumes.get(name),
      volumes: () => [...this.volumes.values()],
      restart: (name, decide) => this.#restart(name, decide),
    });
  }

  get config(): AgentConfig {
    return this.#config;
  }

  get identity(): Identity {
    return this.#identity;
  }

  /** Where it listens, with the port that was given. */
  get listening(): string | undefined {
    const {listen: wanted} = this.#config;
    if (this.#listener === undefined || wanted === undefined) return undefined;
    return showHostPort({host: wanted.host, port: this.#listener.address.port});
  }

  get port(): number | undefined {
    return this.#listener?.address.port;
  }

  /** A volume of the configuration, or of this run. */
  volume(name: string): AgentVolume | undefined {
    return this.volumes.get(name) ?? this.#extra.get(name);
  }

  allVolumes(): AgentVolume[] {
    return [...this.volumes.values(), ...this.#extra.values()];
  }

  set invitation(invitation: Invitation | undefined) {
    this.#invitation?.withdraw();
    this.#invitation = invitation;
  }

  /**
   * Makes what runs that of this configuration.
   * @returns what changed, a sentence each
   * @throws USAGE when it cannot listen there, REFUSED when it is being stopped: nothing has changed then
   */
  apply(next: AgentConfig): Promise<string[]> {
    return this.#inTurn(() => this.#apply(next));
  }

  /** One after the other: what begins and ends listeners and volumes. @throws REFUSED once it is being stopped */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#applying.then(() => {
      if (!this.#isStopping) return work();
      throw new TowlineError('REFUSED', AGENT_STOPS, {reason: AGENT_STOPS});
    });
    this.#applying = Promise.allSettled([done]);
    return done;
  }

  /** Closes a volume and starts it in the role that is noted once `decide` has returned, or thrown. */
  #restart(name: string, decide: () => void): Promise<void> {
    return this.#inTurn(async () => {
      const volume = this.volumes.get(name);
      if (volume === undefined) {
        const reason = 'it was closed meanwhile';
        throw new TowlineError('REFUSED', `volume ${name} was closed meanwhile; nothing was decided`, {reason});
      }
      await volume.stop('its role is another one now');
      try {
        decide();
      } finally {
        if (!this.#isStopping)
          this.volumes.set(
            name,
            this.#startVolume(volume.configured, (event) => this.#parts.onEvent(event)),
          );
        this.#parts.onChange();
      }
    });
  }

  async #apply(next: AgentConfig): Promise<string[]> {
    const told: string[] = [];
    checkPeers(next, this.#identity.id);
    if (!isDeepStrictEqual(next.listen, this.#config.listen)) {
      await this.#listenAt(next);
      told.push(next.listen === undefined ? 'listens no more' : `listens on ${this.listening ?? ''}`);
    }
    if (this.#isStopping) return told; // a peer that is made now would be closed by nobody
    const before = this.#config;
    this.#config = next;
    this.#pace = paceFor(next, before, this.#pace, this.#parts.clock);
    this.#applyPeers(next.peers, told);
    await this.#applyVolumes(next.volumes, told);
    this.#parts.onChange();
    return told;
  }

  /** The new listener is there before the old one goes. */
  async #listenAt(next: AgentConfig): Promise<void> {
    const old = this.#listener;
    const made = next.listen === undefined ? undefined : await this.#listen(next.listen);
    this.#config = {...this.#config, listen: next.listen};
    this.#listener = made;
    await old?.close();
  }

  #listen({host, port}: {host: string; port: number}): Promise<Listener> {
    return listen(
      {
        identity: this.#identity,
        host,
        port,
        isKnownPeer: (id) => this.#peerOf(id) !== undefined,
        onChannel: (channel) => this.#take(channel),
        invitation: () => this.#invitation,
        onPaired: (peer) => this.paired(peer),
        onTrouble: (trouble) => this.#parts.log.warn(trouble.message, {code: trouble.code}),
      },
      {frameBytesMax: FRAME_BYTES_MAX},
    );
  }

  #peerOf(id: string): Peer | undefined {
    return [...this.peers.values()].find((peer) => peer.config.id === id);
  }

  #take(channel: Channel): void {
    const peer = this.#peerOf(channel.peerId);
    if (peer === undefined) channel.close();
    else void peer.take(channel, 'peer');
  }

  /** Writes a peer down that has shown an invitation's code, and serves it. @throws SYSTEM, REFUSED */
  paired(paired: PairedPeer): void {
    const {name, file, address, isInMainFile} = storePeer(this.#config, paired);
    this.#parts.log.info('paired', {peer: name, id: paired.id});
    if (isInMainFile) return;
    const config: PeerConfig = {name, id: paired.id, address, file};
    const peers = [...this.#config.peers.filter((known) => known.name !== name), config];
    this.#config = {...this.#config, peers};
    this.#applyPeers(peers, []);
    // Volumes that name the peer may have been left out of the configuration while it was away.
    this.#parts.onPaired();
    this.#parts.onChange();
  }

  #applyPeers(peers: readonly PeerConfig[], told: string[]): void {
    const wanted = new Map(peers.map((peer) => [peer.name, peer]));
    for (const [name, peer] of this.peers) {
      if (wanted.has(name)) continue;
      peer.close('this peer was removed');
      this.peers.delete(name);
      told.push(`peer ${name} is removed`);
    }
    for (const [name, config] of wanted) {
      const known = this.peers.get(name);
      if (known === undefined) this.peers.set(name, this.#newPeer(config));
      if (known === undefined) told.push(`peer ${name} is new`);
      else if (!isDeepStrictEqual(known.config, config) || known.halt !== undefined) {
        known.change(config);
        told.push(`peer ${name} has changed`);
      }
    }
  }

  #newPeer(config: PeerConfig): Peer {
    const {clock, log} = this.#parts;
    return new Peer(config, {
      identity: () => this.#identity,
      name: this.#config.name,
      instance: this.#instance,
      clock,
      log,
      onOpen: (peer, request, port) => this.#open(peer, request, port),
      onMessage: (peer, message) => this.#message(peer, message),
      onChange: (peer) => this.#peerChanged(peer),
    });
  }

  /** A peer opens a link to a volume here. What it was not given, it does not even hear of. */
  #open(peer: string, request: MessageOf<'open-link'>, port: LinkPort): void {
    const volume = this.volumes.get(request.volume);
    if (volume?.receive !== undefined && volume.receive.from === peer)
      return volume.receive.accept(peer, request, port);
    if (this.failOver.meet(peer, request, port)) return;
    const message = `${peer} asked for volume ${JSON.stringify(request.volume)}, which it was not given here; name it in volumes with receive: ${peer}`;
    this.#parts.log.warn(message, {peer, code: 'NOT_AUTHORISED'});
    const told = `volume ${JSON.stringify(request.volume)} is not received from this agent`;
    refusePort(port, new TowlineError('NOT_AUTHORISED', told, {peer}));
  }

  #message(peer: string, message: Message): void {
    if (message.kind === 'identity-next') return this.#repin(peer, message);
    if (message.kind === 'identity-pinned') return this.#pinned.get(peer)?.(message.id.toString('hex'));
    if (message.kind === 'follow-volume') return this.failOver.answer(peer, message);
    if (message.kind !== 'volume-ready') return;
    for (const volume of this.allVolumes())
      for (const send of volume.sends) if (send.config.to === peer && send.config.as === message.volume) send.wake();
  }

  /** A peer has announced its next key, over the session that its present one has proved. */
  #repin(name: string, message: MessageOf<'identity-next'>): void {
    const peer = this.peers.get(name);
    if (peer === undefined) return;
    try {
      const id = announcedId(message, peer.config.id);
      const config = repinPeer(this.#config, name, id);
      this.#config = {
        ...this.#config,
        peers: this.#config.peers.map((known) => (known.name === name ? config : known)),
      };
      this.#parts.log.info('a peer has another key from now on', {peer: name, id});
      peer.send({kind: 'identity-pinned', id: Buffer.from(id, 'hex')});
      peer.repin(config);
    } catch (error) {
      if (!isTowlineError(error)) throw error;
      this.#parts.log.error(error.message, {peer: name, code: error.code});
    }
  }

  /** Resolves with true when the peer says that it has pinned this ID. */
  nextPinned(peer: string, id: string): Promise<boolean> {
    return new Promise((resolve) => this.#pinned.set(peer, (pinned) => resolve(pinned === id)));
  }

  #peerChanged(name: string): void {
    const links = this.peers.get(name)?.links;
    if (links !== undefined) this.failOver.announce(name).catch((error: unknown) => this.#told(error, name));
    for (const volume of this.allVolumes()) {
      if (links !== undefined) for (const send of volume.sends) if (send.config.to === name) send.wake();
      if (this.peers.get(name)?.failure === 'NOT_AUTHORISED') volume.peerRefused(name);
    }
    this.#parts.onChange();
  }

  #told(error: unknown, peer: string): void {
    this.#parts.log.error(messageOf(error), {peer});
  }

  async #applyVolumes(volumes: readonly VolumeConfig[], told: string[]): Promise<void> {
    const wanted = new Map(volumes.map((volume) => [volume.name, volume]));
    const stops: Promise<void>[] = [];
    for (const [name, volume] of this.volumes) {
      const config = wanted.get(name);
      if (config !== undefined && volume.isOf(config)) continue;
      stops.push(volume.stop(config === undefined ? 'the volume was removed' : 'the volume was changed'));
      this.volumes.delete(name);
      told.push(`volume ${name} ${config === undefined ? 'is removed' : 'has changed'}`);
    }
    await endTogether(stops);
    if (this.#isStopping) return;
    for (const [name, config] of wanted) {
      if (this.volumes.has(name)) continue;
      if (!told.includes(`volume ${name} has changed`)) told.push(`volume ${name} is new`);
      this.volumes.set(
        name,
        this.#startVolume(config, (event) => this.#parts.onEvent(event)),
      );
    }
  }

  #startVolume(configured: VolumeConfig, onEvent: (event: LinkEvent) => void, isKept = true): AgentVolume {
    const {limits} = this.#config;
    const isPeer = (name: string): boolean => this.#config.peers.some((peer) => peer.name === name);
    const restart = (): void => void this.#restart(configured.name, () => undefined).catch(() => undefined);
    const onSuperseded = isKept ? restart : undefined;
    const volume = new AgentVolume({configured, limits, isPeer, onEvent, onSuperseded}, this.parts);
    volume.start();
    return volume;
  }

  /** A volume that the configuration does not name, for as long as somebody wants it. */
  addVolume(config: VolumeConfig, onEvent: (event: LinkEvent) => void): AgentVolume {
    const volume = this.#startVolume(config, onEvent, false);
    this.#extra.set(config.name, volume);
    return volume;
  }

  async removeVolume(name: string): Promise<void> {
    const volume = this.#extra.get(name);
    await volume?.stop('it is not wanted any more');
    this.#extra.delete(name); // not before: who stops the agent waits for those that are here
  }

  /** Another key from now on; connections that were made with the old one stay. */
  changeIdentity(identity: Identity): Promise<void> {
    this.#identity = identity;
    return this.#inTurn(async () => {
      const {listen: at} = this.#config;
      if (at === undefined || this.#listener === undefined) return;
      const {port} = this.#listener.address;
      await this.#listener.close();
      this.#listener = await this.#listen({host: at.host, port});
    });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.invitation = undefined;
    // With what is at it now: it may be closing volumes that are on no list any more.
    const stopped = endTogether([...this.allVolumes().map((volume) => volume.stop(AGENT_STOPS)), this.#applying]);
    await endAll([
      () => Promise.race([stopped, this.#parts.clock.sleep(STOP_MS_MAX)]),
      ...[...this.peers.values()].map((peer) => () => peer.close(AGENT_STOPS)),
      () => stopped,
      () => this.#listener?.close(),
      () => this.#thread.close(),
    ]);
  }
}
