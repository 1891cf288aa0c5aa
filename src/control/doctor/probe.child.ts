/**
 * A process that looks at one folder and tells what it saw: one that hangs can be left behind. Wiring only.
 */
import {messageOf} from '../../base/errors.ts';
import {isLinuxError} from '../../linux/linux-error.ts';
import {countDirs, probeFolder} from './probe-folder.ts';
import type {ProbeAnswer, ProbeRequest} from './examine-folder.ts';

const DIRS_MAX = 2_000_000;

process.once('message', (request: ProbeRequest) => {
  const tell = (answer: ProbeAnswer, then = (): void => {}): void => void process.send?.(answer, then);
  const end = (): void => process.disconnect();
  try {
    const facts = probeFolder(request);
    tell({kind: 'facts', facts}, request.countMs === 0 ? end : undefined);
    if (request.countMs === 0) return;
    const deadlineMs = performance.now() + request.countMs;
    const tree = countDirs(request.path, {dirCount: DIRS_MAX, deadlineMs});
    tell({kind: 'tree', tree}, end);
  } catch (error) {
    const fault = isLinuxError(error) ? error.code : messageOf(error);
    tell({kind: 'fault', fault}, end);
  }
});
