/**
 * A run as programs see it: one JSON object a line on stdout, times in UTC (RFC 3339), the result last.
 *
 * Invariant: every line has `event` and `time`; keys are never missing, what is not known is null.
 */
import type {Clock} from '../base/clock.ts';
import type {TowlineError} from '../base/errors.ts';
import type {SyncEvent, SyncOutcome} from '../daemon/sync-api.ts';
import {bytesOf, fromText, type RelPath, showPath} from '../model/path.ts';
import {placeOfProblem, type Problem} from '../model/problem.ts';
import type {LinkStatus} from '../model/status.ts';
import type {Screen} from './screen.ts';
import type {View} from './view.ts';

export type JsonObject = Record<string, unknown>;

export class JsonView implements View {
  readonly #screen: Screen;
  readonly #clock: Clock;

  constructor(parts: {screen: Screen; clock: Clock}) {
    this.#screen = parts.screen;
    this.#clock = parts.clock;
  }

  onEvent(event: SyncEvent): void {
    this.#write(event.kind, eventFields(event));
  }

  finish(outcome: SyncOutcome, exitCode: number): void {
    if (outcome.error !== undefined && exitCode !== 0) this.error(outcome.error);
    this.#write('result', resultFields(outcome, exitCode));
  }

  /** An error that ends the command. */
  error(error: TowlineError): void {
    this.#write('error', {code: error.code, message: error.message, details: error.details});
  }

  /** The result of a command that ended before its run. */
  failed(exitCode: number): void {
    this.#write('result', {exitCode, inSync: false});
  }

  /** A line of another command. */
  say(event: string, fields: JsonObject): void {
    this.#write(event, fields);
  }

  #write(event: string, fields: JsonObject): void {
    const time = utcTime(this.#clock.nowMs());
    const toNull = (_: string, value: unknown): unknown => (value === undefined ? null : value);
    this.#screen.line(JSON.stringify({event, time, ...fields}, toNull));
  }
}

function eventFields(event: SyncEvent): JsonObject {
  switch (event.kind) {
    case 'status':
      return statusFields(event.status);
    case 'progress': {
      const {phase, entriesDone, entriesTotal, bytesDone, bytesTotal} = event;
      const path = event.path === undefined ? {path: null} : pathFields('path', event.path);
      return {phase, entriesDone, entriesTotal, bytesDone, bytesTotal, ...path};
    }
    case 'applied':
    case 'planned': {
      const latency = event.kind === 'applied' ? {latencyMs: event.latencyMs} : {};
      const to = event.to === undefined ? {to: null} : pathFields('to', event.to);
      return {op: event.op, ...pathFields('path', event.path), ...to, sizeBytes: event.sizeBytes, ...latency};
    }
    case 'problem':
      return problemFields(event.problem);
    case 'solved':
      return pathFields('path', placeOfProblem(event));
    case 'notice':
      return {level: event.level, message: event.message};
  }
}

/** The path as it is shown, and its bytes as base64 where that is not the path itself. */
export function pathFields(key: string, path: RelPath): JsonObject {
  const shown = showPath(path);
  return fromText(shown) === path ? {[key]: shown} : {[key]: shown, [`${key}Bytes`]: bytesOf(path).toString('base64')};
}

function statusFields(status: LinkStatus): JsonObject {
  const {kind, ...rest} = status;
  if (!('asOfMs' in rest)) return {state: kind, ...rest};
  const {asOfMs, ...others} = rest;
  return {state: kind, asOf: utcTime(asOfMs), ...others};
}

/** A problem with its times in UTC. */
export function problemFields(problem: Problem): JsonObject {
  return {
    ...pathFields('path', placeOfProblem(problem)),
    code: problem.code,
    message: problem.message,
    side: problem.side,
    firstSeen: utcTime(problem.firstSeenMs),
    lastSeen: utcTime(problem.lastSeenMs),
    nextTry: problem.nextTryMs === undefined ? null : utcTime(problem.nextTryMs),
  };
}

function resultFields(outcome: SyncOutcome, exitCode: number): JsonObject {
  return {
    exitCode,
    inSync: outcome.isInSync,
    status: statusFields(outcome.status),
    digest: outcome.digest,
    assumedCount: outcome.assumedCount,
    problemCount: outcome.problemCount,
    problems: outcome.problems.map(problemFields),
    stats: outcome.stats,
    elapsedMs: outcome.elapsedMs,
    peakMemoryBytes: outcome.peakMemoryBytes,
    folders: outcome.folders,
    errorCode: outcome.error?.code,
  };
}

/** `2026-11-20T13:02:11.250Z` */
export function utcTime(ms: number): string {
  return new Date(ms).toISOString();
}
