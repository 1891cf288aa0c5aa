/**
 * What goes back for one request: an answer, an error, or lines of JSON until the end. Knows no route.
 *
 * While the work takes its time a sign of life goes out every few seconds, so that whoever waits can tell an agent that
 * works from one that hangs. Invariant: what a slow reader does not take is never gathered beyond a limit.
 */
import type {ServerResponse} from 'node:http';
import {once} from 'node:events';
import {asTowlineError, TowlineError} from '../base/errors.ts';
import {HTTP_STATUS, toWire} from './wire-error.ts';

export const SIGN_OF_LIFE_MS = 5_000;
const WAITING_BYTES_MAX = 4 << 20; // some thousand events: a terminal that is held for a moment loses none

export class Reply {
  readonly #response: ServerResponse;
  readonly #gone = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #leftOutCount = 0;

  constructor(response: ServerResponse, signOfLifeMs: number) {
    this.#response = response;
    response.once('close', () => this.#end('the reader has gone'));
    this.#timer = setInterval(() => this.#showLife(), signOfLifeMs);
  }

  /** Aborted when the client went away before the end, or the server closes. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** Nobody waits for it any more. */
  get isGone(): boolean {
    return this.#response.destroyed;
  }

  /** The whole answer. */
  answer(value: unknown): void {
    this.#whole(200, value ?? {}, {});
  }

  /** An error: as the answer, or as the last line where lines went out before. */
  fail(thrown: unknown, status?: number, headers: Record<string, string> = {}): void {
    const error = asTowlineError(thrown);
    if (this.#response.headersSent) return this.last({error: toWire(error)});
    this.#whole(status ?? HTTP_STATUS[error.code], toWire(error), headers);
  }

  /** One line; resolves when there is room for the next, or when the reader has gone. */
  async send(value: object): Promise<void> {
    if (this.#write(value)) return;
    await once(this.#response, 'drain', {signal: this.signal}).catch(() => {});
  }

  /** One line, left out when the reader is far behind; how many were is told when there is room again. */
  offer(value: object): void {
    if (this.#response.writableLength > WAITING_BYTES_MAX) {
      this.#leftOutCount++;
      return;
    }
    this.#tellLeftOut();
    this.#write(value);
  }

  /** The last line. */
  last(value: object): void {
    this.#tellLeftOut();
    this.#write(value);
    this.finish();
  }

  finish(): void {
    this.#response.end();
  }

  /** The server ends: whatever runs for this request ends too. */
  cancel(): void {
    this.#end('the agent ends');
  }

  #whole(status: number, value: unknown, headers: Record<string, string>): void {
    const body = Buffer.from(`${JSON.stringify(value)}\n`);
    this.#response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': body.length,
      'cache-control': 'no-store',
      ...headers,
    });
    this.#response.end(body);
  }

  #write(value: object): boolean {
    if (this.#response.destroyed) return true;
    if (!this.#response.headersSent) {
      this.#response.writeHead(200, {'content-type': 'application/x-ndjson', 'cache-control': 'no-store'});
    }
    return this.#response.write(`${JSON.stringify(value)}\n`);
  }

  #tellLeftOut(): void {
    if (this.#leftOutCount === 0) return;
    const message = `${this.#leftOutCount} events were left out: they were not read in time`;
    this.#leftOutCount = 0;
    this.#write({event: {kind: 'notice', level: 'warn', message}});
  }

  #showLife(): void {
    if (this.#response.writableEnded || this.#response.writableNeedDrain) return;
    if (this.#response.headersSent) this.#response.write('\n');
    else this.#response.writeProcessing();
  }

  #end(why: string): void {
    clearInterval(this.#timer);
    this.#gone.abort(new TowlineError('CANCELLED', why, {signal: 'close'}));
  }
}
