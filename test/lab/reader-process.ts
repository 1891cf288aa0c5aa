/**
 * The process behind reader.ts: looks at the fixed files of a folder 1,000 times a second, one after the other, and
 * judges every look by what the file itself says. Arguments: the folder. It says `ready` once all files are there, and
 * its report as a line of JSON when its stdin ends.
 */
import {FILE_COUNT, lookAt, nameOf} from './fixed-files.ts';

export interface ReaderReport {
  looks: number;
  seconds: number;
  /** How often a file was another version than at the look before. */
  changes: number;
  /** The first of them. */
  faults: string[];
}

const LOOKS_PER_SECOND = 1_000;
const BEHIND_MAX = 200; // after a pause of the machine it does not run after all that it has missed
const FAULTS_MAX = 20;
const WAIT_MS = 1;

const [folder = ''] = process.argv.slice(2);
const report: ReaderReport = {looks: 0, seconds: 0, changes: 0, faults: []};
const versions = new Map<number, number>();
const pause = new Int32Array(new SharedArrayBuffer(4));
let isOver = false;
let startMs = 0;
let due = 0;

function look(): void {
  const file = report.looks++ % FILE_COUNT;
  const seen = lookAt(folder, file);
  if ('fault' in seen) {
    const at = new Date().toISOString();
    if (report.faults.length < FAULTS_MAX) report.faults.push(`${at} ${nameOf(file)}: ${seen.fault} (${seen.detail})`);
    return;
  }
  if (versions.has(file) && versions.get(file) !== seen.version) report.changes++;
  versions.set(file, seen.version);
}

function loop(): void {
  report.seconds = (performance.now() - startMs) / 1_000;
  if (isOver) {
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  due = Math.max(due, report.looks - BEHIND_MAX);
  const wanted = report.seconds * LOOKS_PER_SECOND;
  const count = Math.min(BEHIND_MAX, Math.floor(wanted - due));
  for (let index = 0; index < count; index++) look();
  due = wanted - ((wanted - due) % 1);
  Atomics.wait(pause, 0, 0, WAIT_MS);
  setImmediate(loop);
}

/** The files come one by one when the folder is copied first. */
function awaitAll(): void {
  const isThere = Array.from({length: FILE_COUNT}, (_, file) => file).every(
    (file) => 'version' in lookAt(folder, file),
  );
  if (!isThere && !isOver) {
    setTimeout(awaitAll, 5);
    return;
  }
  process.stdout.write('ready\n');
  startMs = performance.now();
  loop();
}

process.stdin.on('end', () => (isOver = true)).resume();
awaitAll();
