/**
 * `towline pending VOLUME`: what is not in sync, and why; a page, or all of it.
 */
import {formatCount} from '../config/units.ts';
import type {PendingPage} from '../control/agent-api.ts';
import {commandOptions, connectAgent, volumeTyped} from './agent-connection.ts';
import type {CommonFlags} from './common-options.ts';
import {problemFields} from './json-view.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {problemLine, shellWord} from './summary.ts';
import {Teller} from './teller.ts';
import {oneLine, plural} from './text.ts';

export interface PendingFlags extends CommonFlags {
  all?: boolean;
}

const PAGE_COUNT = 100; // about two screens
const ALL_PAGE_COUNT = 1_000;

/** @returns 0 when everything is in sync, 1 when not */
export async function pendingCommand(
  typed: string,
  flags: PendingFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const client = await connectAgent(flags);
  const {name: volume, links} = volumeTyped(await client.report(), typed);
  const manyPeers = links.length > 1;
  const countMax = flags.all === true ? ALL_PAGE_COUNT : PAGE_COUNT;
  let page = await client.pending({volume, after: undefined, countMax});
  const isInSync = page.problemCount + page.pendingCount === 0;
  teller.line(summaryOf(page), isInSync ? 'green' : 'yellow');
  for (let shownCount = 0; ;) {
    for (const problem of page.problems) {
      teller.say('problem', {peer: problem.peer, ...problemFields(problem)});
      teller.line(manyPeers ? `${problemLine(problem)}, ${oneLine(problem.peer)}` : problemLine(problem));
    }
    shownCount += page.problems.length;
    if (page.next === undefined || parts.readerGone.aborted) break;
    if (flags.all !== true) {
      const rest = Math.max(1, page.problemCount + page.pendingCount - shownCount);
      teller.line(
        `… and ${formatCount(rest)} more: towline pending ${shellWord(volume)}${commandOptions(flags)} --all`,
      );
      break;
    }
    parts.screen.flush();
    page = await client.pending({volume, after: page.next, countMax});
  }
  const {problemCount, pendingCount, next} = page;
  return teller.result(isInSync ? 0 : 1, {volume, problemCount, pendingCount, complete: next === undefined});
}

function summaryOf({volume, problemCount, pendingCount}: PendingPage): string {
  const name = oneLine(volume);
  if (problemCount + pendingCount === 0) return `${name}: nothing is pending`;
  const problems = plural(problemCount, formatCount(problemCount), 'path');
  return `${name}: ${problems} with problems, ${formatCount(pendingCount)} on their way`;
}
