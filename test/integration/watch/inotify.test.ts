/** The inotify back end: the shared suite, and what only it can do. */
import {describeWatcherContract} from './watcher-contract.ts';
import {InotifyWatcher} from '../../../src/watch/inotify-watcher.ts';

describeWatcherContract('inotify', (options) => new InotifyWatcher(options), {seesModes: true});
