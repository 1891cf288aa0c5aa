/**
 * Watches folders in a process of its own, which can be stopped, or live under limits of its own.
 *
 * Called with the roots; several are watched by one thread. Prints one JSON line when one is ready or refused, then one
 * per event; ends with its input.
 */
import {closeSync, openSync} from 'node:fs';
import {isTowlineError} from '../../../src/base/errors.ts';
import {InotifyThread} from '../../../src/watch/inotify-thread.ts';
import {InotifyWatcher} from '../../../src/watch/inotify-watcher.ts';

const roots = process.argv.slice(2);
const thread = roots.length > 1 ? new InotifyThread() : undefined;
const watchers: InotifyWatcher[] = [];

for (const [index, root] of roots.entries()) {
  const say = (line: object): void => console.log(JSON.stringify({...line, root: index}));
  const rootFd = openSync(root, 'r');
  const onEvents = (events: object[]): void => events.forEach(say);
  const options = {rootFd, rootPath: root, skipDirs: [], onEvents};
  const watcher = new InotifyWatcher(options, thread === undefined ? {} : {thread});
  watchers.push(watcher);
  try {
    say({kind: 'ready', ...(await watcher.start())});
  } catch (error) {
    say({kind: 'refused', code: isTowlineError(error) ? error.code : 'other', message: String(error)});
  }
  closeSync(rootFd);
}
process.stdin.resume().on('end', () => {
  for (const watcher of watchers) void watcher.close();
  void thread?.close();
});
