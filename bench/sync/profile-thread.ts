/**
 * Loaded into every thread of a measured program (`node --import`): samples where the thread spends its time.
 *
 * `node --cpu-prof` cannot: it writes by path when a thread ends, and a jailed thread never finds that path. So the file
 * is opened before the jail. A profile is written every 2 s, one line each: a thread may be ended without notice.
 */
import {openSync, writeSync} from 'node:fs';
import {Session} from 'node:inspector';
import {join} from 'node:path';
import {threadId} from 'node:worker_threads';

const INTERVAL_US = 1_000;
const WRITE_MS = 2_000;

const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.setSamplingInterval', {interval: INTERVAL_US});
session.post('Profiler.start');
const fd = openSync(join(process.env['PROFILE_FOLDER'] ?? '.', `thread-${threadId}.ndjson`), 'w');

function write(): void {
  session.post('Profiler.stop', (error, {profile}) => {
    if (error === null) writeSync(fd, `${JSON.stringify(profile)}\n`);
  });
}

setInterval(() => {
  write();
  session.post('Profiler.start');
}, WRITE_MS).unref();
process.on('exit', write);
