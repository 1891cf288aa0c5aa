/**
 * Lines of coloured pieces, and tables of them that fit a width. Pure.
 *
 * What does not fit gives way in this order: columns without content, long names in the first two columns, the last
 * columns. Invariant: widths are counted in cells of the terminal, without colours.
 */
import type {Colour} from './teller.ts';
import {cutEnd, padCells, widthOf} from './text.ts';

export interface Span {
  text: string;
  colour?: Colour | undefined;
}

/** A line, from left to right. */
export type Line = Span[];

const GAP = '  ';
const NAME_COLUMNS = 2;
const KEPT_COLUMNS_MIN = 4;
const NAME_CELLS = {first: 12, last: 6}; // names shrink to the first before columns go, to the last after that

export function spansOf(cells: (string | Span)[]): Span[] {
  return cells.map((cell) => (typeof cell === 'string' ? {text: cell} : cell));
}

/**
 * @param rows cells by column; missing ones at the end are empty
 * @param width cells that a line may take, Infinity for any number
 * @returns the head and one line for each row
 */
export function tableLines(head: readonly string[], rows: readonly Span[][], width: number): Line[] {
  const all = [head.map((text): Span => ({text, colour: 'dim'})), ...rows];
  const columns = head
    .map((title, index) => ({
      index,
      width: Math.max(widthOf(title), ...rows.map((row) => widthOf(row[index]?.text ?? ''))),
      isEmpty: rows.every((row) => (row[index]?.text ?? '') === ''),
    }))
    .filter(({index, isEmpty}) => index < KEPT_COLUMNS_MIN || !isEmpty);
  const excess = (): number =>
    columns.reduce((sum, column) => sum + column.width, GAP.length * (columns.length - 1)) - width;
  const shrinkNames = (cellsMin: number): void => {
    const names = columns.slice(0, NAME_COLUMNS);
    while (excess() > 0 && names.some((name) => name.width > cellsMin)) {
      names.reduce((a, b) => (b.width > a.width ? b : a)).width--;
    }
  };
  shrinkNames(NAME_CELLS.first);
  while (excess() > 0 && columns.length > KEPT_COLUMNS_MIN) columns.pop();
  shrinkNames(NAME_CELLS.last);
  return all.map((row) =>
    columns.map((column, at) => {
      const {text = '', colour} = row[column.index] ?? {};
      const cell = cutEnd(text, column.width);
      const isLast = at === columns.length - 1;
      return {text: isLast ? cell : padCells(cell, column.width) + GAP, colour};
    }),
  );
}
