/** Enters a jail, tells what it sees before, in and after a job, and waits in there while the main thread looks around. */
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {parentPort, workerData} from 'node:worker_threads';
import {Jail} from '../../../src/linux/jail.ts';
import {openRegular, readInto} from '../../../src/linux/files.ts';
import {closeFd} from '../../../src/linux/open-fd.ts';
import {codeOf} from './code-of.ts';

const {rootFd, restingFd, gate} = workerData as {rootFd: number; restingFd: number; gate: Int32Array};

function see(): Record<string, unknown> {
  return {
    host: existsSync('/etc/passwd'),
    inside: codeOf(() => readFileSync('/inside')),
    absoluteLink: codeOf(() => readFileSync('/link')),
    outwardLink: codeOf(() => readFileSync('/outward')),
    names: readdirSync('/').length,
    proc: existsSync('/proc/self'),
  };
}

function readHeld(): string {
  const {fd, stat} = openRegular(rootFd, 'inside'); // goes through the held /proc/self/fd
  const bytes = Buffer.alloc(stat.sizeBytes);
  readInto(fd, bytes, 0, bytes.length, 0);
  closeFd(fd);
  return bytes.toString();
}

const jail = new Jail(restingFd);
const resting = see();
const inside = jail.run(rootFd, () => {
  const seen = {...see(), read: jail.isActive ? readHeld() : ''};
  if (jail.isActive) writeFileSync('/made', '', {mode: 0o666});
  parentPort!.postMessage({kind: 'inside'});
  Atomics.wait(gate, 0, 0, 10_000);
  return seen;
});
const failed = codeOf(() =>
  jail.run(rootFd, () => {
    throw Object.assign(new Error('job'), {code: 'JOB'});
  }),
);
const refusals = {
  nested: codeOf(() => jail.run(rootFd, () => jail.enter(rootFd))),
  asynchronous: codeOf(() => jail.run(rootFd, () => Promise.resolve())),
  closedRoot: codeOf(() => jail.run(-1, () => undefined)),
};
parentPort!.postMessage({kind: 'done', isActive: jail.isActive, resting, inside, failed, refusals, after: see()});
Atomics.wait(gate, 1, 0, 10_000); // alive and at rest while the main thread unmounts
