/** Towline in the comparison: two agents, as `npm run bench -- agents` has them. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {startAgents, untilEqual} from '../agents/hosts.ts';
import type {Places, Tool, ToolKind} from './tool.ts';

const PACKAGE = join(import.meta.dirname, '../../package.json');

export const towline: ToolKind = {
  package: 'nodejs',
  program: 'node',
  version: () => (JSON.parse(readFileSync(PACKAGE, 'utf8')) as {version: string}).version,
  notes: () => [
    "a copy is complete when both sides' tree digests are equal and it is durable; the default `settle` is 50ms, and " +
      'with the least wait `settle: 0ms`',
  ],
  make: makeTowline,
};

function makeTowline({source, target, sourceState, targetState, here, there, record}: Places): Tool {
  let running: Awaited<ReturnType<typeof startAgents>> | undefined;
  return {
    start: async () => {
      record('towline agent, on each host');
      running = await startAgents({
        source: {root: source, folder: sourceState, host: here},
        target: {root: target, folder: targetState, host: there},
      });
    },
    firstCopy: (volume) => {
      record('volumes: {VOLUME: {at: SOURCE/VOLUME, send: [target]}}, and {at: TARGET/VOLUME, receive: source}');
      return running!.addVolume(volume);
    },
    follow: (volume, pace) => (pace === 'hasty' ? running!.addVolume(volume, {settle: '0ms'}) : Promise.resolve()),
    afterChange: () => Promise.resolve(),
    stop: async () => {
      const {agents} = running ?? {};
      await Promise.all([agents?.source.stop(), agents?.target.stop()]);
    },
    catchUp: async (volume) => {
      const {source: from, target: to} = running!.agents;
      await Promise.all([from.start(), to.start()]);
      await untilEqual(from, volume);
    },
  };
}
