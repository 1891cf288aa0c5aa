/**
 * lsyncd in the comparison: `default.rsyncssh`, which watches the source, runs rsync over ssh for what changed, and moves
 * by `ssh HOST mv`. Its first copy and its catch-up are the rsync of its start.
 */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {must} from '../sync/filesystems.ts';
import {Daemon, type Pace, type Places, type Tool, type ToolKind} from './tool.ts';

const STARTED = /Startup of .* finished/;
/** It takes less, and then loses a change of equal size within a second of another: its rsync compares whole seconds. */
const DELAY_SECONDS: Record<Pace, number> = {usual: 1, hasty: 0};

export const lsyncd: ToolKind = {
  package: 'lsyncd',
  program: 'lsyncd',
  version: () => /Version: (\S+)/.exec(must('lsyncd', '--version'))?.[1] ?? 'unknown',
  notes: () => [
    'it has `delay = 1` (its default is 15); the least wait is `delay = 0`, with which two changes of a file within one ' +
      'second that keep its size can leave the older one on the target, as rsync compares whole seconds',
  ],
  make: makeLsyncd,
};

function makeLsyncd(places: Places): Tool {
  const {here, sourceState, record} = places;
  const daemons = new Map<string, Daemon>();
  const start = async (volume: string, pace: Pace): Promise<void> => {
    await daemons.get(volume)?.stop();
    const config = join(sourceState, `${volume}.lua`);
    const text = configOf(places, volume, DELAY_SECONDS[pace]);
    writeFileSync(config, text);
    const words = ['lsyncd', '-nodaemon', config];
    record(`${words.join(' ')}, with ${text.replace(/\s+/g, ' ')}`);
    const daemon = new Daemon(here, words);
    daemons.set(volume, daemon);
    await daemon.says(STARTED);
  };
  return {
    start: () => Promise.resolve(),
    firstCopy: (volume) => start(volume, 'usual'),
    follow: (volume, pace) => (pace === 'hasty' ? start(volume, pace) : Promise.resolve()),
    afterChange: (volume) => {
      const daemon = daemons.get(volume);
      if (daemon?.isRunning !== true) throw new Error(`lsyncd ended: ${daemon?.said}`);
      return Promise.resolve();
    },
    stop: async () => {
      for (const daemon of daemons.values()) await daemon.stop();
    },
    catchUp: (volume) => start(volume, 'usual'),
  };
}

/** Lua, as its manual writes it. */
function configOf({source, target, there, shell}: Places, volume: string, delaySeconds: number): string {
  const [, ...sshArgs] = shell.split(' ');
  const list = (words: readonly string[]): string => words.map((word) => JSON.stringify(word)).join(', ');
  return `settings {nodaemon = true}
sync {
  default.rsyncssh,
  source = ${JSON.stringify(join(source, volume))},
  host = "root@${there.ipv4}",
  targetdir = ${JSON.stringify(join(target, volume))},
  delay = ${delaySeconds},
  delete = true,
  rsync = {archive = true, acls = true, xattrs = true, hard_links = true, _extra = {"--sparse", "--numeric-ids"},
    rsh = ${JSON.stringify(shell)}},
  ssh = {_extra = {${list(sshArgs)}}},
}
`;
}
