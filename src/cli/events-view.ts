/**
 * What tells the events of a run that has no folders of its own to show: an agent's.
 */
import type {SyncEvent} from '../daemon/sync-api.ts';
import {type CommonFlags, hasColour, verbosityOf} from './common-options.ts';
import {JsonView} from './json-view.ts';
import type {CliParts} from './parts.ts';
import {PeopleEvents} from './people-events.ts';
import type {Screen} from './screen.ts';

/** For people or, with `--json`, for programs. */
export function eventsView(
  isOnce: boolean,
  flags: CommonFlags & {progress?: boolean},
  parts: CliParts & {screen: Screen},
): {onEvent(event: SyncEvent): void} {
  if (flags.json === true) return new JsonView(parts);
  const verbosity = verbosityOf(flags);
  const hasProgress = flags.progress ?? (parts.stderr.isTerminal && verbosity >= 0);
  return new PeopleEvents({isOnce, verbosity, hasProgress, hasColour: hasColour(parts), stderr: parts.stderr}, parts);
}
