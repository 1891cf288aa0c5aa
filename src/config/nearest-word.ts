/**
 * Which known word somebody may have meant. Pure.
 */

const CHARS_MAX = 40; // nobody mistypes a longer one, and the work grows with the square

/**
 * @returns the known word with the fewest slips (a letter too many, missing, wrong, or two swapped), at most one for
 *   three letters; undefined when none is near
 */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  if (word.length > CHARS_MAX) return undefined;
  const slipsMax = Math.max(1, Math.floor(word.length / 3));
  const ranked = known
    .map((candidate) => ({candidate, slips: slipsBetween(word.toLowerCase(), candidate.toLowerCase())}))
    .filter(({slips}) => slips <= slipsMax)
    .sort((a, b) => a.slips - b.slips);
  return ranked[0]?.candidate;
}

/** Optimal string alignment distance. */
function slipsBetween(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({length: b.length + 1}, (_, index) => index);
  for (let row = 1; row <= a.length; row++) {
    const next = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      let slips = Math.min(last[column]! + 1, next[column - 1]! + 1, last[column - 1]! + (isSame ? 0 : 1));
      const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (isSwap) slips = Math.min(slips, beforeLast[column - 2]! + 1);
      next.push(slips);
    }
    [beforeLast, last] = [last, next];
  }
  return last[b.length]!;
}
