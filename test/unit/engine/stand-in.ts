/**
 * Answers on a unix socket what a test wants an engine to have answered: what no real one can be brought to say.
 */
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import {join} from 'node:path';
import {onTestFinished} from 'vitest';
import type {EngineSocket} from '../../../src/engine/engine-request.ts';
import {makeTmpDir} from '../../tmp.ts';

/** A value goes out as JSON with status 200; a function does what it wants. */
export type Answer = object | ((question: IncomingMessage, response: ServerResponse) => void);

export interface StandIn {
  at: EngineSocket;
  /** Paths of all questions so far. */
  asked: string[];
  answers: Record<string, Answer>;
  close(): Promise<void>;
}

const VERSION = {ApiVersion: '1.41', MinAPIVersion: '1.12'};

/** @param answers by path, without `/v1.41`; what is not there is 404 */
export async function standIn(
  answers: Record<string, Answer>,
  socket = join(makeTmpDir(), 'engine.sock'),
): Promise<StandIn> {
  const asked: string[] = [];
  const server = createServer((question, response) => {
    const path = question.url ?? '';
    asked.push(path);
    const answer = found.answers[path.replace(/^\/v\d+\.\d+(?=\/)/, '')];
    if (typeof answer === 'function') return void answer(question, response);
    response.writeHead(answer === undefined ? 404 : 200, {'content-type': 'application/json'});
    response.end(JSON.stringify(answer ?? {message: 'no such thing'}));
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  const at: EngineSocket = {engine: 'docker', socket, isConfigured: true};
  const found: StandIn = {at, asked, answers: {'/version': VERSION, ...answers}, close};
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  onTestFinished(close);
  return found;
}

/** An answer with a status and a body as they are. */
export function raw(status: number, body: string): Answer {
  return (_question, response) => response.writeHead(status).end(body);
}
