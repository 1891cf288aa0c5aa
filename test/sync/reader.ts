/**
 * A process that reads paths again and again and judges every look (versions.ts). Arguments: the paths. It says `ready`
 * after the first look at each, and its report as one JSON line when its stdin ends.
 */
import {look} from './versions.ts';

const FAULTS_MAX = 20;
const paths = process.argv.slice(2);
const report = {
  looks: 0,
  versions: Object.fromEntries(paths.map((path) => [path, 0])),
  faults: [] as string[],
};
const last = new Map<string, number>();
let isOver = false;

function lookOnce(): void {
  for (const path of paths) {
    const seen = look(path);
    report.looks++;
    if ('fault' in seen) {
      if (report.faults.length < FAULTS_MAX) report.faults.push(`${path}: ${seen.fault} (${seen.detail})`);
    } else if (last.get(path) !== seen.version) {
      last.set(path, seen.version);
      report.versions[path]!++;
    }
  }
}

function loop(): void {
  if (isOver) {
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  for (let count = 0; count < 20; count++) lookOnce();
  setImmediate(loop);
}

process.stdin.on('end', () => (isOver = true)).resume();
lookOnce();
process.stdout.write('ready\n');
loop();
