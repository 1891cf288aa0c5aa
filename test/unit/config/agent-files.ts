/** Configurations for tests: files in a temporary folder, read as the agent reads them. */
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import type {AgentConfig} from '../../../src/config/agent-config.ts';
import {loadAgentConfig} from '../../../src/config/load-config.ts';
import {makeTmpDir} from '../../tmp.ts';

export const ID = (digit: string): string => digit.repeat(64);

/** @param peers texts of files in peers.d, by their names; @returns the path of the main file */
export function writeConfig(text: string, peers: Record<string, string> = {}): string {
  const folder = makeTmpDir();
  const file = join(folder, 'towline.yaml');
  writeFileSync(file, text, {mode: 0o644});
  if (Object.keys(peers).length > 0) mkdirSync(join(folder, 'peers.d'));
  for (const [name, content] of Object.entries(peers))
    writeFileSync(join(folder, 'peers.d', name), content, {mode: 0o600});
  return file;
}

export function load(text: string, peers: Record<string, string> = {}): AgentConfig {
  return loadAgentConfig({file: writeConfig(text, peers), env: {}});
}

/** The faults of a text, each without the folder of its file: `towline.yaml:2:3: agent.x: …`. */
export function faultsOf(text: string, peers: Record<string, string> = {}): string[] {
  const file = writeConfig(text, peers);
  try {
    loadAgentConfig({file, env: {}});
    return [];
  } catch (error) {
    const {message} = error as Error;
    const lines = message
      .replace(/^1 error in the configuration: /, '')
      .replace(/^\d+ errors.*\n/, '')
      .split('\n');
    return lines.map((line) => line.replaceAll(`${file.slice(0, file.lastIndexOf('/'))}/`, ''));
  }
}
