/**
 * `towline doctor`: what was found, area by area, each finding with its fix.
 *
 * Invariant: one finding is one line (and one for its fix), so that what was found before something hangs is seen.
 */
import {resolve} from 'node:path';
import type {AgentConfig} from '../config/agent-config.ts';
import type {LoadConfigOptions} from '../config/load-config.ts';
import {CONFIG_FILE} from '../config/state-folder.ts';
import type {ExamineParts} from '../control/doctor/examine.ts';
import {exitCodeOf, type Finding, type FindingLevel} from '../control/doctor/finding.ts';
import {type CommonFlags, hasColour, verbosityOf} from './common-options.ts';
import {JsonView} from './json-view.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {oneLine, plural} from './text.ts';

/** What the diagnosis needs and the command line does not have; the surface of `daemon/doctor.ts`. */
export interface DoctorSources extends Pick<ExamineParts, 'loadIdentity' | 'findRoot' | 'askEngine'> {
  loadConfig(options: LoadConfigOptions): ReturnType<ExamineParts['loadConfig']>;
  /** Where promote or follow decided something else than the configuration says. One sentence each. */
  configNotices(config: AgentConfig): string[];
}

const COLOUR: Record<FindingLevel, number> = {ok: 32, note: 36, warn: 33, bad: 31};
const LEVELS = Object.keys(COLOUR) as FindingLevel[];

/** @returns the exit code: 1 when anything is bad */
export async function doctorCommand(flags: CommonFlags, parts: CliParts & {screen: Screen}): Promise<number> {
  const sources = await parts.loadDoctor();
  const {examine} = await import('../control/doctor/examine.ts');
  const json = flags.json === true ? new JsonView(parts) : undefined;
  const show = json === undefined ? peopleView(flags, parts) : (found: Finding) => json.say('finding', {...found});
  const {loadIdentity, findRoot, askEngine} = sources;
  const findings = await examine({
    loadIdentity,
    findRoot,
    askEngine,
    loadConfig: () =>
      sources.loadConfig({
        file: resolve(flags.config ?? CONFIG_FILE),
        stateFolder: flags.state === undefined ? undefined : resolve(flags.state),
        env: parts.env,
      }),
    clock: parts.clock,
    onFinding: show,
  });
  const exitCode = exitCodeOf(findings);
  const counts = countsOf(findings);
  if (json !== undefined) json.say('result', {exitCode, ...counts});
  else if (verbosityOf(flags) >= 0) parts.screen.line(summaryOf(counts));
  return exitCode;
}

function peopleView(flags: CommonFlags, parts: CliParts & {screen: Screen}): (found: Finding) => void {
  const isColoured = hasColour(parts);
  const isQuiet = verbosityOf(flags) < 0;
  let lastArea = '';
  return ({area, level, what, fix}) => {
    if (isQuiet && (level === 'ok' || level === 'note')) return;
    if (area !== lastArea) parts.screen.line(oneLine(area));
    lastArea = area;
    const shown = level.padEnd(4);
    const mark = isColoured ? `\u001b[${COLOUR[level]}m${shown}\u001b[0m` : shown;
    parts.screen.line(`  ${mark}  ${oneLine(what)}`);
    if (fix !== undefined && level !== 'ok') parts.screen.line(`        ${oneLine(fix)}`);
    parts.screen.flush(); // the next one may take seconds
  };
}

function countsOf(findings: readonly Finding[]): Record<FindingLevel, number> {
  const count = (level: FindingLevel): number => findings.filter((found) => found.level === level).length;
  return Object.fromEntries(LEVELS.map((level) => [level, count(level)])) as Record<FindingLevel, number>;
}

function summaryOf({ok, note, warn, bad}: Record<FindingLevel, number>): string {
  const parts = [`${bad} bad`, plural(warn, String(warn), 'warning'), plural(note, String(note), 'note'), `${ok} ok`];
  return parts.join(', ');
}
