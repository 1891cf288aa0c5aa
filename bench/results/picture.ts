/**
 * Draws what was measured and is kept in this folder: `node bench/results/picture.ts`. growth.svg is from
 * `npm run bench -- scale`, sizes.svg from `sizes`, ratios.svg from `sync` and `agents`.
 */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {type Growth, growthCharts, type Row} from './growth-charts.ts';
import {type Ratio, ratioBars} from './ratio-bars.ts';

const FIRST_COPY = {title: 'first copy, s', lines: {Towline: 'first copy s', 'rsync over ssh': 'rsync s'}};
const CATCH_UP = {
  title: 'catch-up after a restart of both, s',
  lines: {Towline: 'catch-up s', 'rsync -aHAX': 'rsync -aHAX s'},
};
const MEMORY = {title: 'most memory, MB', lines: {source: 'source MB', target: 'target MB'}};

const BY_FILES: Growth = {
  by: 'files',
  charts: [
    {title: 'one change, ms', lines: {median: 'change p50 ms', '99 of 100': 'p99 ms'}},
    {title: 'a directory renamed, ms', lines: {renamed: 'rename ms'}},
    CATCH_UP,
    FIRST_COPY,
    MEMORY,
  ],
};
const BY_SIZE: Growth = {
  by: 'MiB',
  charts: [
    FIRST_COPY,
    {title: 'a page changed, s', lines: {Towline: 'page s', 'rsync over ssh': 'page, rsync s'}},
    CATCH_UP,
    MEMORY,
  ],
};

interface Results<R> {
  rows: R[];
  time: string;
  machine: string;
}

draw('growth', 'scale', BY_FILES);
draw('sizes', 'sizes', BY_SIZE);
drawRatios();

function draw(picture: string, measurement: string, growth: Growth): void {
  const results = resultsOf<Row>(measurement);
  write(picture, growthCharts(results.rows, growth, footOf(measurement, results)));
}

function drawRatios(): void {
  const sync = resultsOf<{case: string; column: string; ratio: number}>('sync');
  const agents = resultsOf<{case: string; line: string; ratio: number}>('agents');
  const ratios: Ratio[] = [
    ...sync.rows.map((row) => ({label: `${row.case}, ${row.column}; beside rsync, local`, ratio: row.ratio})),
    ...agents.rows.map((row) => ({label: `${row.case}; beside rsync over ssh, ${row.line}`, ratio: row.ratio})),
  ];
  write('ratios', ratioBars('Time of Towline; that of rsync is 1', ratios, footOf('sync, agents', agents)));
}

function resultsOf<R>(measurement: string): Results<R> {
  return JSON.parse(readFileSync(join(import.meta.dirname, `${measurement}.json`), 'utf8')) as Results<R>;
}

function footOf(measurements: string, {time, machine}: Results<unknown>): string {
  return `npm run bench -- ${measurements} · ${time.slice(0, 10)} · ${machine}`;
}

function write(picture: string, content: string): void {
  writeFileSync(join(import.meta.dirname, `${picture}.svg`), content);
}
