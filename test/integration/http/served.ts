/**
 * A control socket in a folder of its own, with an agent that answers what a test says, and the client for it.
 */
import {join} from 'node:path';
import {expect, onTestFinished} from 'vitest';
import {type AgentClient, connectControl} from '../../../src/http/control-client.ts';
import {serveControl} from '../../../src/http/control-server.ts';
import {controlSocketOf} from '../../../src/http/socket-path.ts';
import {SILENT_LOG} from '../../../src/telemetry/log.ts';
import {ScriptedAgent} from '../../scripted-agent.ts';
import {makeTmpDir} from '../../tmp.ts';

/** Closed when the test ends. */
export interface Served {
  agent: ScriptedAgent;
  folder: string;
  socketPath: string;
  close: () => Promise<void>;
}

export async function serve(
  options: {folder?: string; requestMsMax?: number; signOfLifeMs?: number} = {},
): Promise<Served> {
  const {folder = join(makeTmpDir(), 'state'), ...limits} = options;
  const agent = new ScriptedAgent();
  const socketPath = controlSocketOf(folder);
  const server = await serveControl({socketPath, control: agent, log: SILENT_LOG, ...limits});
  onTestFinished(() => server.close());
  return {agent, folder, socketPath, close: () => server.close()};
}

export async function clientOf(folder: string, options?: {silenceMsMax: number}): Promise<AgentClient> {
  const client = await connectControl(folder, options);
  expect(client).toBeDefined();
  return client!;
}

/** An error with this code. */
export const failure = (code: string): object => expect.objectContaining({name: 'TowlineError', code}) as object;
