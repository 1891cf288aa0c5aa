/** rsync over ssh in the comparison: it watches nothing, so it is run by hand after each change. */
import {join} from 'node:path';
import {must} from '../sync/filesystems.ts';
import {type Places, type Tool, type ToolKind, Unable, runToEnd} from './tool.ts';

/** All that its manual has for a faithful mirror; lsyncd gives them to it too. */
export const FAITHFUL = ['-aHAXS', '--numeric-ids', '--delete'];

export const rsync: ToolKind = {
  package: 'rsync',
  program: 'rsync',
  version: () => /version (\S+)/.exec(must('rsync', '--version'))?.[1] ?? 'unknown',
  notes: () => ['it is run by hand after each change: the time is that of the run'],
  make: makeRsync,
};

function makeRsync(places: Places): Tool {
  const {source, target, there, shell} = places;
  const copy = (volume: string): Promise<void> =>
    runToEnd(places, [
      ...['rsync', ...FAITHFUL, '-e', shell],
      ...[`${join(source, volume)}/`, `root@${there.ipv4}:${join(target, volume)}/`],
    ]);
  return {
    start: () => Promise.resolve(),
    firstCopy: copy,
    follow: (_, pace) => {
      if (pace === 'hasty') throw new Unable('does not watch');
      return Promise.resolve();
    },
    afterChange: copy,
    stop: () => Promise.resolve(),
    catchUp: copy,
  };
}
