/**
 * Draws `bench/results/growth.svg` from what `npm run bench -- scale` measured and is kept in `bench/results/scale.json`:
 * `node bench/results/picture.ts`. A small chart for each figure, both axes logarithmic, so that what does not grow is level.
 */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';

const RESULTS = import.meta.dirname;

type Row = Record<string, number>;

interface Chart {
  title: string;
  /** Columns of the table, by what they are called in the picture. */
  lines: Record<string, string>;
}

const CHARTS: readonly Chart[] = [
  {title: 'one change, ms', lines: {median: 'change p50 ms', '99 of 100': 'p99 ms'}},
  {title: 'a directory renamed, ms', lines: {renamed: 'rename ms'}},
  {title: 'catch-up after a restart of both, s', lines: {Towline: 'catch-up s', 'rsync -aHAX': 'rsync -aHAX s'}},
  {title: 'first copy, s', lines: {Towline: 'first copy s', 'rsync, no fsync': 'rsync s'}},
  {title: 'most memory, MB', lines: {source: 'source MB', target: 'target MB'}},
];

const [WIDTH, HEIGHT] = [220, 150];
const [LEFT, TOP, BETWEEN, BELOW] = [46, 34, 34, 40];
const COLOURS = ['#0b6bcb', '#c2571a'];

const {rows, time, machine} = JSON.parse(readFileSync(join(RESULTS, 'scale.json'), 'utf8')) as {
  rows: Row[];
  time: string;
  machine: string;
};
const widthAll = CHARTS.length * (WIDTH + BETWEEN + LEFT);
const heightAll = TOP + HEIGHT + BELOW + 20;
const parts = CHARTS.map(
  (chart, index) => `<g transform="translate(${LEFT + index * (WIDTH + BETWEEN + LEFT)},${TOP})">${draw(chart)}</g>`,
);
const foot = `npm run bench -- scale · ${time.slice(0, 10)} · ${machine}`;
writeFileSync(
  join(RESULTS, 'growth.svg'),
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${widthAll} ${heightAll}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
<text x="${LEFT}" y="${heightAll - 8}" fill="#555">${escaped(foot)}</text>
</svg>
`,
);

function draw({title, lines}: Chart): string {
  const shown = Object.entries(lines).filter(([, column]) => rows.every((row) => row[column]! > 0));
  const values = shown.flatMap(([, column]) => rows.map((row) => row[column]!));
  const low = 10 ** Math.floor(Math.log10(Math.min(...values)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...values) * 1.001));
  const counts = rows.map(({files}) => files!);
  const x = (files: number): number => scaled(files, [counts[0]!, counts.at(-1)!]) * WIDTH;
  const y = (value: number): number => HEIGHT - scaled(value, [low, high]) * HEIGHT;
  const grid = powersOfTen(low, high).map(
    (value) =>
      `<path d="M0 ${y(value)}H${WIDTH}" stroke="#ddd"/><text x="-6" y="${y(value) + 4}" text-anchor="end">${label(value)}</text>`,
  );
  const ticks = counts.map(
    (count) => `<text x="${x(count)}" y="${HEIGHT + 16}" text-anchor="middle">${label(count)}</text>`,
  );
  const drawn = shown.map(([name, column], index) => {
    const points = rows.map((row) => `${x(row['files']!)},${y(row[column]!)}`);
    const dots = points.map((point) => `<circle cx="${point.replace(',', '" cy="')}" r="3"/>`).join('');
    const legend = `<text x="${4 + index * 90}" y="${HEIGHT + 34}" stroke="none">${escaped(name)}</text>`;
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

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
