/**
 * Two hosts, each with a Docker engine and an agent of its own; volumes of one are sent to the other.
 *
 * Needs what `needsDocker` and `needsHosts` say. Invariant: agents ask their own engine only.
 */
import {join} from 'node:path';
import type {AgentSettings, TestAgent} from './agent.ts';
import {pair} from './agents.ts';
import {type DockerEngine, startDockerEngine} from './engines.ts';
import {makeAgents} from './lab.ts';

export interface DockerHost {
  readonly agent: TestAgent;
  readonly engine: DockerEngine;
  readonly docker: DockerEngine['docker'];
  /** Where the engine keeps the files of one of its volumes. */
  data(volume: string): string;
}

/** Addresses of a volume on both hosts; by its own name where none is given. */
export interface Places {
  at?: (host: DockerHost) => string;
  toAt?: (host: DockerHost) => string;
  /** Keys of the volume on both hosts. */
  settings?: Record<string, unknown>;
}

/**
 * Starts both engines; the agents know of them and of each other, and are not yet started.
 * @param volumes by name; `source` sends each to `target`
 */
export async function makeDockerLab(
  volumes: Record<string, Places>,
): Promise<{source: DockerHost; target: DockerHost}> {
  const agents = makeAgents({source: {}, target: {}});
  const [source, target] = await Promise.all([withEngine(agents.source), withEngine(agents.target)]);
  const settingsOf = (host: DockerHost, link: object, place: 'at' | 'toAt'): AgentSettings => ({
    engines: {docker: {socket: host.engine.socket}},
    volumes: Object.fromEntries(
      Object.entries(volumes).map(([name, places]) => [
        name,
        {at: places[place]?.(host) ?? `docker:${name}`, ...link, ...places.settings},
      ]),
    ),
  });
  source.agent.configure(settingsOf(source, {send: ['target']}, 'at'));
  target.agent.configure(settingsOf(target, {receive: 'source'}, 'toAt'));
  await pair(source.agent, target.agent);
  return {source, target};
}

async function withEngine(agent: TestAgent): Promise<DockerHost> {
  const engine = await startDockerEngine({netns: agent.host.namespace});
  return {
    agent,
    engine,
    docker: engine.docker,
    data: (volume) => join(engine.folder, 'data/volumes', volume, '_data'),
  };
}
