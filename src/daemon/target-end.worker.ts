/**
 * The thread of the target's end. Wiring only: messages in, messages out.
 */
import {parentPort, workerData} from 'node:worker_threads';
import {messageOf} from '../base/errors.ts';
import {plainError} from '../base/jobs.ts';
import type {Identity} from '../transport/identity.ts';
import type {Places} from '../volume/places.ts';
import {TargetEnd, type TargetEndOptions} from './target-end.ts';

/** To the thread. */
export type ToTargetEnd = {kind: 'listen'; identity: Identity; sourceId: string} | {kind: 'close'};

/** From the thread. */
export type FromTargetEnd =
  | {kind: 'opened'; places: Places}
  | {kind: 'listening'; port: number}
  | {kind: 'notice'; message: string}
  | {kind: 'failed'; error: ReturnType<typeof plainError>}
  | {kind: 'closed'};

const port = parentPort;
if (port === null) throw new Error('this file runs in a thread of its own');
const tell = (message: FromTargetEnd): void => port.postMessage(message);

let end: TargetEnd | undefined;
try {
  end = new TargetEnd(workerData as TargetEndOptions, {onNotice: (message) => tell({kind: 'notice', message})});
  tell({kind: 'opened', places: end.places});
} catch (error) {
  tell({kind: 'failed', error: plainError(error)});
}

port.on('message', (message: ToTargetEnd) => {
  const work = message.kind === 'listen' ? listenFor(message.identity, message.sourceId) : closeAll();
  work.catch((error: unknown) => tell({kind: 'failed', error: plainError(error)}));
});

async function listenFor(identity: Identity, sourceId: string): Promise<void> {
  if (end !== undefined) tell({kind: 'listening', port: await end.listen(identity, sourceId)});
}

async function closeAll(): Promise<void> {
  try {
    await end?.close();
  } catch (error) {
    tell({kind: 'notice', message: messageOf(error)}); // a full disk of the state, for one: nobody waits for its end
  }
  tell({kind: 'closed'});
  port?.close();
}
