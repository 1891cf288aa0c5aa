/**
 * Where the agent of this host keeps its state, for commands that look for it. Reads one key of the configuration and
 * judges nothing else: a configuration that was broken since must not hide an agent that runs.
 */
import {readFileSync, statSync} from 'node:fs';
import {isAbsolute, resolve} from 'node:path';
import {isMap, parseDocument} from 'yaml';
import {messageOf, TowlineError} from '../base/errors.ts';

export const CONFIG_FILE = '/etc/towline/towline.yaml';
export const AGENT_STATE_FOLDER = '/var/lib/towline';

const CONFIG_BYTES_MAX = 1 << 20;

/**
 * @param file `--config`; undefined for the usual place, where none need be
 * @returns `agent.state`, or /var/lib/towline
 * @throws TowlineError USAGE when a file that was named cannot be read
 */
export function agentStateFolder(file: string | undefined): string {
  const path = resolve(file ?? CONFIG_FILE);
  let text: string;
  try {
    if (statSync(path).size > CONFIG_BYTES_MAX) throw new Error('it is larger than 1 MiB');
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (file === undefined) return AGENT_STATE_FOLDER;
    const hint = 'name the configuration of the agent with --config';
    const message = `cannot read ${JSON.stringify(path)}: ${messageOf(error)}; ${hint}`;
    throw new TowlineError('USAGE', message, {hint}, {cause: error});
  }
  const {contents} = parseDocument(text, {logLevel: 'silent'});
  const state = isMap(contents) ? contents.getIn(['agent', 'state']) : undefined;
  return typeof state === 'string' && isAbsolute(state) ? resolve(state) : AGENT_STATE_FOLDER;
}
