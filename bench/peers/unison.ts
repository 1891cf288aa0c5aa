/**
 * Unison in the comparison: over ssh, as a mirror (`-force SOURCE`). A first copy and a catch-up are one run; live it is
 * `-repeat watch` where its helper for watching is installed, and else a look at both trees each second.
 */
import {spawnSync} from 'node:child_process';
import {join} from 'node:path';
import {must} from '../sync/filesystems.ts';
import {isInstalled} from './installed.ts';
import {Daemon, type Places, type Tool, type ToolKind, Unable, lineOf, runToEnd} from './tool.ts';

const HELPER = 'unison-fsmonitor';
const POLL_SECONDS = 1;
const LOOKED_TWICE = /(Nothing to do|Synchronization complete)[\s\S]*Nothing to do/;
/** Watching says nothing more when nothing happens. */
const LOOKED = /Nothing to do|Synchronization complete/;

export const unison: ToolKind = {
  package: 'unison',
  program: 'unison',
  version: () => /version (\S+)/.exec(must('unison', '-version'))?.[1] ?? 'unknown',
  notes: () => [
    isInstalled(HELPER)
      ? 'live it is `-repeat watch`'
      : `live it is \`-repeat ${POLL_SECONDS}\`, which looks at both trees each second: this package has no ${HELPER}, ` +
        'and `-repeat watch` ends with "No file monitoring helper program found"',
  ],
  make: makeUnison,
};

function makeUnison(places: Places): Tool {
  const {source, target, sourceState, targetState, here, there, shell, record} = places;
  const [, ...sshArgs] = shell.split(' ');
  const own = ['env', `UNISON=${sourceState}`, `HOME=${sourceState}`];
  const more = newerOptions();
  const words = (volume: string): string[] => [
    ...[...own, 'unison', join(source, volume), `ssh://root@${there.ipv4}/${join(target, volume)}`],
    ...['-ui', 'text', '-dumbtty', '-auto', '-batch', '-force', join(source, volume), '-confirmbigdel=false'],
    ...['-owner', '-group', '-numericids', '-times', '-perms', '-1', ...more],
    ...['-sshargs', sshArgs.join(' '), '-servercmd', `env UNISON=${targetState} unison`],
  ];
  const run = (volume: string): Promise<void> => runToEnd(places, words(volume));
  let live: Daemon | undefined;
  return {
    start: () => Promise.resolve(),
    firstCopy: run,
    follow: async (volume, pace) => {
      if (pace === 'hasty') throw new Unable('has no shorter wait');
      const isWatching = isInstalled(HELPER);
      const repeat = [...words(volume), '-repeat', isWatching ? 'watch' : String(POLL_SECONDS)];
      record(lineOf(repeat));
      live = new Daemon(here, repeat);
      await live.says(isWatching ? LOOKED : LOOKED_TWICE);
    },
    afterChange: () => {
      if (live?.isRunning !== true) throw new Error(`unison ended: ${live?.said}`);
      return Promise.resolve();
    },
    stop: async () => {
      await live?.stop();
    },
    catchUp: run,
  };
}

/** Since 2.53 it takes extended attributes and ACLs along. Source: its manual. */
function newerOptions(): string[] {
  const {stdout} = spawnSync('unison', ['-help'], {encoding: 'utf8'}); // it ends with 1
  return ['-xattrs', '-acl'].filter((option) => new RegExp(`^ *${option}\\b`, 'm').test(stdout));
}
