/**
 * How fast frames travel over loopback TLS between this thread and a worker of the same process.
 * Usage: node bench/transport.ts [MiB in each direction, default 512]
 */
import {Worker} from 'node:worker_threads';
import {dial} from '../src/transport/dial.ts';
import {createIdentity} from '../src/transport/identity.ts';

const totalBytes = Number(process.argv[2] ?? 512) * 1024 * 1024;
const ROUND_TRIPS = 3_000;
const ROUND_TRIP_BYTES = 200;

async function measure(frameBytes: number): Promise<void> {
  const [here, there] = await Promise.all([createIdentity(), createIdentity()]);
  const workerData = {identity: there, peerId: here.id, frameBytes};
  const worker = new Worker(new URL('transport.worker.ts', import.meta.url), {workerData});
  const port = await new Promise<number>((resolve) => {
    worker.once('message', resolve);
  });
  const channel = await dial({identity: here, host: '127.0.0.1', port, peerId: there.id}, {frameBytesMax: frameBytes});
  let answered: () => void = () => {};
  channel.onFrame = (frame) => {
    if (frame.length < frameBytes) answered();
  };
  const answer = (): Promise<void> =>
    new Promise((resolve) => {
      answered = resolve;
    });
  const count = Math.ceil(totalBytes / frameBytes);

  const sendStart = performance.now();
  const frame = Buffer.alloc(frameBytes, 1);
  for (let index = 0; index < count; index++) {
    channel.send(frame);
    await channel.drained();
  }
  channel.send(Buffer.alloc(4));
  await answer();
  const receiveStart = performance.now();
  const request = Buffer.alloc(5);
  request.writeUInt32BE(count, 1);
  channel.send(request);
  await answer();
  const end = performance.now();

  const message = Buffer.alloc(ROUND_TRIP_BYTES);
  const tripsMs: number[] = [];
  for (let index = 0; index < ROUND_TRIPS; index++) {
    const startMs = performance.now();
    channel.send(message);
    await answer();
    tripsMs.push(performance.now() - startMs);
  }
  tripsMs.sort((a, b) => a - b);
  const rate = (ms: number): string => `${((count * frameBytes) / 1e6 / (ms / 1000)).toFixed(0)} MB/s`;
  console.log(
    `frames of ${frameBytes / 1024} KiB: sending ${rate(receiveStart - sendStart)}, receiving ${rate(end - receiveStart)}; ` +
      `round trip of ${ROUND_TRIP_BYTES} bytes: median ${tripsMs[ROUND_TRIPS / 2]!.toFixed(3)} ms, ` +
      `p99 ${tripsMs[Math.floor(ROUND_TRIPS * 0.99)]!.toFixed(3)} ms`,
  );
  channel.close();
  await channel.closed;
  await worker.terminate();
}

for (const frameKiB of [64, 256, 1024]) await measure(frameKiB * 1024);
