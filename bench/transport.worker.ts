/** The listening side of bench/transport.ts: takes large frames, sends as many as a 5-byte frame asks for, echoes the rest. */
import {parentPort, workerData} from 'node:worker_threads';
import type {Channel} from '../src/transport/channel.ts';
import type {Identity} from '../src/transport/identity.ts';
import {listen} from '../src/transport/listen.ts';

const {identity, peerId, frameBytes} = workerData as {identity: Identity; peerId: string; frameBytes: number};

async function sendMany(channel: Channel, count: number): Promise<void> {
  const frame = Buffer.alloc(frameBytes, 1);
  for (let index = 0; index < count; index++) {
    channel.send(frame);
    await channel.drained();
  }
  channel.send(Buffer.alloc(4));
}

const listener = await listen(
  {
    identity,
    host: '127.0.0.1',
    port: 0,
    isKnownPeer: (id) => id === peerId,
    onChannel: (channel) => {
      channel.onFrame = (frame) => {
        if (frame.length === 5) void sendMany(channel, frame.readUInt32BE(1));
        else if (frame.length < frameBytes) channel.send(frame);
      };
    },
  },
  {frameBytesMax: frameBytes},
);
parentPort!.postMessage(listener.address.port);
