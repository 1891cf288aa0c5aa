/**
 * The process behind proxy.ts: hands bytes on between a listener and an address, late, slowly, or not at all.
 *
 * It is told what to do by messages of its parent, and ends with it. Invariant: what waits in it is bounded; a sender
 * that is faster than the line is paused.
 */
import {connect, createServer, type Server, type Socket} from 'node:net';

export interface ProxySettings {
  /** Each way. */
  delayMs: number;
  /** Each way, all connections together; 0 for no limit. */
  bytesPerSecond: number;
}

export type ProxyRequest =
  | {do: 'listen'; host: string; port: number; to: {host: string; port: number}; settings: ProxySettings}
  | {do: 'set'; settings: ProxySettings}
  | {do: 'cut-next-after'; way: 'forward' | 'back'; bytes: number}
  | {do: 'cut' | 'freeze' | 'thaw' | 'half-open' | 'count' | 'refuse' | 'accept'};

/** The answer to each request. */
export interface ProxyReport {
  port: number;
  /** Open now, and opened so far. */
  openCount: number;
  acceptedCount: number;
  /** Connections that were cut as `cut-next-after` asked. */
  cutCount: number;
  /** Handed on to the listener's side of the connection, and back. */
  forwardBytes: number;
  backBytes: number;
}

const WAITING_BYTES_MAX = 32 << 20; // one direction of one connection: more than a fast line holds within any delay used

let target = {host: '', port: 0};
let settings: ProxySettings = {delayMs: 0, bytesPerSecond: 0};
let isFrozen = false;
let isRefusing = false;
let server: Server | undefined;
const report: ProxyReport = {port: 0, openCount: 0, acceptedCount: 0, cutCount: 0, forwardBytes: 0, backBytes: 0};
const connections = new Set<Connection>();
/** For the next connection that comes: after how many bytes of which direction it is cut. */
let nextCut: {way: 'forward' | 'back'; bytes: number} | undefined;
/** When each direction's line is free again. */
const freeAtMs = {forward: 0, back: 0};

/** One direction of a connection. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #way: 'forward' | 'back';
  readonly #waiting: {data: Buffer | undefined; dueMs: number}[] = [];
  #waitingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  /** So many bytes are handed on before the connection is cut. */
  #leftBytes = Infinity;
  #onCut: () => void = () => undefined;

  constructor(from: Socket, to: Socket, way: 'forward' | 'back') {
    this.#from = from;
    this.#to = to;
    this.#way = way;
    from.on('data', (data: Buffer) => this.#take(data, data.length));
    from.on('end', () => this.#take(undefined, 0));
    to.on('drain', () => this.give());
  }

  get way(): 'forward' | 'back' {
    return this.#way;
  }

  cutAfter(bytes: number, onCut: () => void): void {
    this.#leftBytes = bytes;
    this.#onCut = onCut;
  }

  #take(data: Buffer | undefined, sizeBytes: number): void {
    const nowMs = performance.now();
    const lineMs = settings.bytesPerSecond > 0 ? (sizeBytes / settings.bytesPerSecond) * 1_000 : 0;
    freeAtMs[this.#way] = Math.max(freeAtMs[this.#way], nowMs) + lineMs;
    this.#waiting.push({data, dueMs: freeAtMs[this.#way] + settings.delayMs});
    this.#waitingBytes += sizeBytes;
    this.#pace();
    this.give();
  }

  /** Hands on what is due. */
  give(): void {
    clearTimeout(this.#timer);
    if (isFrozen) return;
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#to.writableNeedDrain) return; // `drain` calls again
      const waitMs = first.dueMs - performance.now();
      if (waitMs > 0.5) {
        this.#timer = setTimeout(() => this.give(), waitMs);
        return;
      }
      this.#waiting.shift();
      if (first.data === undefined) this.#to.end();
      else this.#write(first.data);
    }
    this.#pace();
  }

  #write(data: Buffer): void {
    this.#waitingBytes -= data.length;
    const isCut = data.length > this.#leftBytes;
    const handed = isCut ? data.subarray(0, this.#leftBytes) : data;
    this.#leftBytes -= handed.length;
    report[this.#way === 'forward' ? 'forwardBytes' : 'backBytes'] += handed.length;
    if (!isCut) {
      if (this.#to.writable) this.#to.write(handed);
      return this.#pace();
    }
    // Who sent is reset; who receives reads what was handed on and then the end: a reset could overtake it.
    this.#waiting.length = 0;
    this.#to.removeAllListeners('error').on('error', () => undefined);
    if (this.#to.writable) this.#to.end(handed, () => this.#to.destroySoon());
    reset(this.#from);
    this.#onCut();
  }

  /** A sender may be ahead of a slow line by what a router's queue would hold. */
  #pace(): void {
    const queueBytes = settings.bytesPerSecond * (0.2 + settings.delayMs / 1_000);
    const limit = settings.bytesPerSecond > 0 ? Math.min(queueBytes, WAITING_BYTES_MAX) : WAITING_BYTES_MAX;
    const isFull = isFrozen || this.#waitingBytes > limit;
    if (isFull && !this.#from.isPaused()) this.#from.pause();
    else if (!isFull && this.#from.isPaused()) this.#from.resume();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
  }
}

class Connection {
  readonly client: Socket;
  readonly upstream: Socket;
  readonly pipes: Pipe[];

  constructor(client: Socket) {
    this.client = client;
    this.upstream = connect({...target, allowHalfOpen: true, noDelay: true});
    this.pipes = [new Pipe(client, this.upstream, 'forward'), new Pipe(this.upstream, client, 'back')];
    report.acceptedCount++;
    this.#planCut();
    for (const [socket, other] of [[client, this.upstream] as const, [this.upstream, client] as const]) {
      socket.setNoDelay(true);
      socket.on('error', () => reset(other));
      socket.on('close', () => {
        if (client.destroyed && this.upstream.destroyed) connections.delete(this);
      });
    }
  }

  #planCut(): void {
    const plan = nextCut;
    nextCut = undefined;
    const pipe = this.pipes.find(({way}) => way === plan?.way);
    pipe?.cutAfter(plan!.bytes, () => {
      report.cutCount++;
      for (const each of this.pipes) each.stop();
    });
  }

  cut(): void {
    for (const pipe of this.pipes) pipe.stop();
    reset(this.client);
    reset(this.upstream);
  }

  /** The listener loses the connection; who dialled it is not told. */
  halfOpen(): void {
    for (const pipe of this.pipes) pipe.stop();
    this.client.removeAllListeners('data').resume();
    this.upstream.removeAllListeners('error').on('error', () => undefined);
    reset(this.upstream);
  }
}

function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy();
}

const ACTIONS: Record<'cut' | 'freeze' | 'thaw' | 'half-open' | 'count' | 'refuse' | 'accept', () => void> = {
  cut: () => connections.forEach((connection) => connection.cut()),
  freeze: () => void (isFrozen = true),
  thaw: () => {
    isFrozen = false;
    for (const {pipes} of connections) for (const pipe of pipes) pipe.give();
  },
  'half-open': () => connections.forEach((connection) => connection.halfOpen()),
  count: () => undefined,
  refuse: () => void (isRefusing = true),
  accept: () => void (isRefusing = false),
};

function listen(host: string, port: number): Promise<void> {
  server = createServer({allowHalfOpen: true, noDelay: true}, (client) => {
    if (isRefusing) reset(client);
    else connections.add(new Connection(client));
  });
  return new Promise((resolve, reject) => {
    server!.once('error', reject).listen(port, host, () => {
      report.port = (server!.address() as {port: number}).port;
      resolve();
    });
  });
}

process.on('message', (request: ProxyRequest) => {
  void (async () => {
    if (request.do === 'listen') {
      ({to: target, settings} = request);
      await listen(request.host, request.port);
    } else if (request.do === 'set') ({settings} = request);
    else if (request.do === 'cut-next-after') nextCut = {way: request.way, bytes: request.bytes};
    else ACTIONS[request.do]();
    report.openCount = connections.size;
    process.send!(report);
  })();
});
process.on('disconnect', () => process.exit(0));
