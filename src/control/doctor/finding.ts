/**
 * What a diagnosis says: one sentence about one thing, how bad it is, and what to type against it.
 *
 * Facts are gathered by the files named `read-…` and `probe-…`; those named `judge-…` make findings of them. Pure.
 */

/**
 * - `ok`: as it should be
 * - `note`: works, but differently than one may expect
 * - `warn`: works, but something will not be kept, or will fail one day
 * - `bad`: does not work, or not as configured
 */
export type FindingLevel = 'ok' | 'note' | 'warn' | 'bad';

export interface Finding {
  /** `kernel`, `volume pgdata`, `peer db-2` … */
  area: string;
  level: FindingLevel;
  /** One sentence without a full stop. */
  what: string;
  /** What to type or to change; undefined when nothing can be done, or need be. */
  fix: string | undefined;
}

export function finding(area: string, level: FindingLevel, what: string, fix?: string): Finding {
  return {area, level, what, fix};
}

/** 1 when anything is bad: warnings are for a person to weigh. */
export function exitCodeOf(findings: readonly Finding[]): number {
  return findings.some(({level}) => level === 'bad') ? 1 : 0;
}
