/** Numbers of several runs, as tables show them. */

/** @param values at least one */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** To two decimal places. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
