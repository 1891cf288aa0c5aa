/**
 * Watches a folder in a process of its own, which can be stopped, or live under limits of its own.
 *
 * Called with the root. Prints one JSON line when ready or refused, then one per event; ends with its input.
 */
import {closeSync, openSync} from 'node:fs';
import {isTowlineError} from '../../../src/base/errors.ts';
import {InotifyWatcher} from '../../../src/watch/inotify-watcher.ts';

const root = process.argv[2] as string;
const say = (line: object): void => console.log(JSON.stringify(line));
const rootFd = openSync(root, 'r');
const onEvents = (events: object[]): void => events.forEach(say);
const watcher = new InotifyWatcher({rootFd, rootPath: root, skipDirs: [], onEvents});
try {
  say({kind: 'ready', ...(await watcher.start())});
} catch (error) {
  say({kind: 'refused', code: isTowlineError(error) ? error.code : 'other', message: String(error)});
}
closeSync(rootFd);
process.stdin.resume().on('end', () => void watcher.close());
