/**
 * How a flush or a catch-up ended, one line a link, for people and for programs.
 */
import type {LinkOutcome, RunOutcome} from '../control/agent-api.ts';
import {linkOutcomeFields} from './agent-json.ts';
import {problemLines} from './summary.ts';
import type {Teller} from './teller.ts';
import {oneLine} from './text.ts';

const DIGEST_CHARS = 12;
const HOOK_LINES = 10;

/** Tells it. @returns the exit code */
export function tellOutcome(outcome: RunOutcome, teller: Teller): number {
  for (const {hook, failure, output, elapsedMs} of outcome.hooks ?? []) {
    teller.say('hook', {hook, isDone: failure === undefined, failure, output, elapsedMs: Math.round(elapsedMs)});
    if (failure !== undefined) teller.line(oneLine(failure), 'red');
    const said = failure === undefined || output === '' ? [] : output.split('\n').slice(-HOOK_LINES);
    for (const line of said) teller.line(`  ${oneLine(line)}`);
  }
  for (const link of outcome.links) {
    teller.say('link', linkOutcomeFields(link));
    teller.line(outcomeLine(link), link.exitCode === 0 ? 'green' : link.exitCode === 1 ? 'yellow' : 'red');
    for (const line of problemLines(link.problems, link.problemCount)) teller.line(`  ${line}`);
  }
  if (outcome.links.length === 0 && outcome.hooks === undefined)
    teller.line('There is no link to wait for; what is configured: towline status');
  return teller.result(outcome.exitCode);
}

/** `pgdata → db-2: in sync, digest 3f2a91bc7d01…` */
export function outcomeLine(link: LinkOutcome): string {
  const name = `${oneLine(link.volume)} ${link.direction === 'send' ? '→' : '←'} ${oneLine(link.peer)}`;
  if (link.exitCode !== 0) return `${name}: not in sync: ${oneLine(link.reason ?? 'some paths have problems')}`;
  return `${name}: in sync${link.digest === undefined ? '' : `, digest ${link.digest.slice(0, DIGEST_CHARS)}…`}`;
}
