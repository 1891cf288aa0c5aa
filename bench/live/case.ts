/** What a case of `npm run bench -- live` is given, and what it gives back. */

export interface Context {
  /** Smaller trees and fewer changes: shows that it works, not how fast it is. */
  isQuick: boolean;
  /** An empty folder, on the filesystem of temporary files. */
  base: string;
  /** Tells whoever waits how far it is. */
  say: (what: string) => void;
}

export interface Row {
  case: string;
  /** What was measured. */
  what: string;
  value: number;
  unit: string;
  /** Undefined: told for its own sake. */
  goal: string | undefined;
  /** Undefined: no goal, or `goal` names a condition that was not given. */
  isMet: boolean | undefined;
}

export type Case = (context: Context) => Promise<Row[]>;

/** What rows of one case have in common. */
export interface Rows {
  /** A value without a goal. */
  tell(what: string, value: number, unit: string): void;
  /** @param isJudged false: the condition that the goal names was not given */
  atMost(what: string, value: number, unit: string, limit: number, condition?: {goal: string; isJudged: boolean}): void;
  atLeast(what: string, value: number, unit: string, limit: number): void;
  all: Row[];
}

/** @param name of the case; each row is said as soon as it is known */
export function rowsOf(name: string, {say}: Context): Rows {
  const all: Row[] = [];
  const add = (row: Omit<Row, 'case'>): void => {
    if (!Number.isFinite(row.value)) throw new Error(`${name}, ${row.what}: ${row.value} is no figure`);
    all.push({case: name, ...row, value: rounded(row.value)});
    const verdict = row.isMet === undefined ? '' : row.isMet ? ', met' : ', missed';
    say(
      `${row.what}: ${rounded(row.value)} ${row.unit}${row.goal === undefined ? '' : ` (goal ${row.goal}${verdict})`}`,
    );
  };
  return {
    all,
    tell: (what, value, unit) => add({what, value, unit, goal: undefined, isMet: undefined}),
    atMost: (what, value, unit, limit, condition) => {
      const goal = `≤ ${limit} ${unit}${condition === undefined ? '' : ` ${condition.goal}`}`;
      add({what, value, unit, goal, isMet: condition?.isJudged === false ? undefined : value <= limit});
    },
    atLeast: (what, value, unit, limit) => add({what, value, unit, goal: `≥ ${limit} ${unit}`, isMet: value >= limit}),
  };
}

/** To three digits where it is small, to one decimal place where it is not. */
function rounded(value: number): number {
  return Math.abs(value) >= 10 ? Math.round(value * 10) / 10 : Number(value.toPrecision(3));
}
