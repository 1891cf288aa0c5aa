/** Small charts of what grows, side by side, both axes logarithmic, so that what does not grow is level. */

export type Row = Record<string, number>;

export interface Growth {
  /** What the axis below counts: a column. */
  by: string;
  charts: readonly {
    title: string;
    /** Columns of the table, by what they are called in the picture. */
    lines: Record<string, string>;
  }[];
}

const [WIDTH, HEIGHT] = [220, 150];
const [LEFT, TOP, BETWEEN, BELOW] = [46, 34, 34, 40];
const LEGEND_WIDTH = 90;
const COLOURS = ['#0b6bcb', '#c2571a'];

/** @param foot where the figures come from @returns the picture as SVG */
export function growthCharts(rows: readonly Row[], {by, charts}: Growth, foot: string): string {
  const width = charts.length * (WIDTH + BETWEEN + LEFT);
  const height = TOP + HEIGHT + BELOW + 20;
  const parts = charts.map(
    (chart, index) =>
      `<g transform="translate(${LEFT + index * (WIDTH + BETWEEN + LEFT)},${TOP})">${draw(rows, by, chart)}</g>`,
  );
  return svg({width, height, foot, left: LEFT}, parts);
}

/** A picture with a line of text below. */
export function svg(
  {width, height, foot, left}: {width: number; height: number; foot: string; left: number},
  parts: readonly string[],
): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
<text x="${left}" y="${height - 8}" fill="#555">${escaped(foot)}</text>
</svg>
`;
}

export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

function draw(rows: readonly Row[], by: string, {title, lines}: Growth['charts'][number]): string {
  const shown = Object.entries(lines).filter(([, column]) => rows.every((row) => row[column]! > 0));
  const values = shown.flatMap(([, column]) => rows.map((row) => row[column]!));
  const low = 10 ** Math.floor(Math.log10(Math.min(...values)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...values) * 1.001));
  const counts = rows.map((row) => row[by]!);
  const x = (count: number): number => scaled(count, [counts[0]!, counts.at(-1)!]) * WIDTH;
  const y = (value: number): number => HEIGHT - scaled(value, [low, high]) * HEIGHT;
  const grid = powersOfTen(low, high).map(
    (value) =>
      `<path d="M0 ${y(value)}H${WIDTH}" stroke="#ddd"/><text x="-6" y="${y(value) + 4}" text-anchor="end">${label(value)}</text>`,
  );
  const ticks = counts.map(
    (count) => `<text x="${x(count)}" y="${HEIGHT + 16}" text-anchor="middle">${label(count)}</text>`,
  );
  const drawn = shown.map(([name, column], index) => {
    const points = rows.map((row) => `${x(row[by]!)},${y(row[column]!)}`);
    const dots = points.map((point) => `<circle cx="${point.replace(',', '" cy="')}" r="3"/>`).join('');
    const legend = `<text x="${4 + index * LEGEND_WIDTH}" y="${HEIGHT + 34}" stroke="none">${escaped(name)}</text>`;
    return `<g stroke="${COLOURS[index]}" fill="${COLOURS[index]}"><polyline fill="none" points="${points.join(' ')}"/>${dots}${legend}</g>`;
  });
  const heading = `<text y="-12" font-weight="bold">${escaped(title)}</text>`;
  return [heading, ...grid, ...ticks, ...drawn].join('');
}

/** Where a value lies between two others, 0 to 1, by their logarithms. */
function scaled(value: number, [from, to]: [number, number]): number {
  return from === to ? 0.5 : Math.log(value / from) / Math.log(to / from);
}

function powersOfTen(low: number, high: number): number[] {
  const count = Math.round(Math.log10(high / low));
  return Array.from({length: count + 1}, (_, index) => low * 10 ** index);
}

function label(value: number): string {
  if (value >= 1e6) return `${value / 1e6}M`;
  if (value >= 1e3) return `${value / 1e3}k`;
  return String(Number(value.toPrecision(2)));
}
