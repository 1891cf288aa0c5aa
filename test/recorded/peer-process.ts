/**
 * Stands between two agents, or in the place of one, with their own keys. What it is to do is its first argument.
 *
 * `relay` passes every frame on and prints each as a JSON line: that is how a recording is made. `play` says what one
 * side said in a recording, in its order, each frame once the other side has said what it had said before.
 */
import {readFileSync} from 'node:fs';
import type {Channel} from '../../src/transport/channel.ts';
import {dial} from '../../src/transport/dial.ts';
import {readIdentity} from '../../src/transport/identity-file.ts';
import type {Identity} from '../../src/transport/identity.ts';
import {listen} from '../../src/transport/listen.ts';
import {decode, encode, peek} from '../../src/wire/codec.ts';
import {FRAME_BYTES_MAX} from '../../src/wire/limits.ts';
import {readRecording, type Side} from './recording.ts';

/** State folders of the two agents, whose keys are used. */
interface Keys {
  source: string;
  target: string;
}

/** The source dials `port` here, the target listens at `host`. */
export type PeerTask =
  | {do: 'relay'; keys: Keys; port: number; host: string; targetPort: number}
  | {do: 'play'; as: Side; recording: string; keys: Keys; port: number; host: string; targetPort: number};

/** When they are said depends on the moment. */
const AT_ANY_TIME = new Set(['ping', 'pong', 'credit', 'bye']);
const OPTIONS = {frameBytesMax: FRAME_BYTES_MAX};

const task = JSON.parse(process.argv[2]!) as PeerTask;
const tell = (line: object): void => console.log(JSON.stringify(line));
const keys = {source: keyOf(task.keys.source), target: keyOf(task.keys.target)};

if (task.do === 'relay') {
  void heardFromSource((source) => void relay(source));
} else if (task.as === 'target') {
  void heardFromSource((source) => void play(source, 'target'));
} else {
  void dialTarget().then((target) => play(target, 'source'));
}

function keyOf(stateFolder: string): Identity {
  const identity = readIdentity(stateFolder);
  if (identity === undefined) throw new Error(`${stateFolder} has no identity`);
  return identity;
}

async function heardFromSource(onChannel: (channel: Channel) => void): Promise<void> {
  const isKnownPeer = (id: string): boolean => id === keys.source.id;
  await listen({identity: keys.target, host: '::', port: task.port, isKnownPeer, onChannel}, OPTIONS);
  tell({listening: true});
}

function dialTarget(): Promise<Channel> {
  const {host, targetPort} = task;
  return dial({identity: keys.source, host, port: targetPort, peerId: keys.target.id}, OPTIONS);
}

async function relay(source: Channel): Promise<void> {
  const target = await dialTarget();
  const pass = (from: Side, channel: Channel, to: Channel): void => {
    channel.onFrame = (frame) => {
      tell({from, frame: frame.toString('base64')});
      to.send(Buffer.from(frame));
    };
    channel.onClose = () => to.close();
  };
  pass('source', source, target);
  pass('target', target, source);
}

async function play(channel: Channel, as: Side): Promise<void> {
  const heard: string[] = [];
  let wake = (): void => undefined;
  channel.onFrame = (frame) => {
    const {kind} = peek(frame);
    const message = decode(Buffer.from(frame));
    if (message.kind === 'ping') channel.send(encode({kind: 'pong', nonce: message.nonce}));
    if (message.kind === 'fault') tell({fault: message.message});
    heard.push(kind);
    wake();
  };
  channel.onClose = (reason) => {
    tell({closed: reason.message});
    wake();
  };
  for (const {from, frame, kind} of readRecording(readFileSync(task.do === 'play' ? task.recording : '', 'utf8'))) {
    if (from === as) channel.send(frame);
    else if (!AT_ANY_TIME.has(kind)) {
      while (!heard.includes(kind)) {
        if (!channel.isOpen) return;
        await new Promise<void>((resolve) => (wake = resolve));
      }
      heard.splice(heard.indexOf(kind), 1);
    }
  }
  tell({played: true});
}
