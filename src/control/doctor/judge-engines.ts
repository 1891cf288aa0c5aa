/**
 * Judges the container engines by their answer to `/version`. Pure.
 */
import type {EngineConfig} from '../../config/agent-config.ts';
import {finding, type Finding} from './finding.ts';

/** An answer, or why there was none. */
export type EngineFacts = {status: number; body: string} | {message: string; errno: string};

/** @param isNeeded whether a volume's address names this engine */
export function judgeEngine(engine: EngineConfig, facts: EngineFacts, isNeeded: boolean): Finding[] {
  const area = `engine ${engine.engine}`;
  if ('message' in facts) {
    // Looked for at its usual place, and nobody asked for it.
    if (facts.errno === 'ENOENT' && !engine.isConfigured && !isNeeded) return [];
    const level = engine.isConfigured || isNeeded ? 'bad' : 'warn';
    return [finding(area, level, facts.message, fixOf(engine, facts.errno))];
  }
  const {version, api} = readVersion(facts.body);
  if (facts.status !== 200 || api === '') {
    const what = `${engine.socket} is no container engine (it answered ${facts.status})`;
    return [finding(area, 'bad', what, `correct \`engines.${engine.engine}.socket\``)];
  }
  return [finding(area, 'ok', `version ${version} answers at ${engine.socket}, API ${api}`)];
}

function fixOf({engine, socket}: EngineConfig, errno: string): string {
  if (errno === 'EACCES' || errno === 'EPERM') return 'run the agent, and this command, as root';
  return `systemctl start ${engine === 'podman' ? 'podman.socket' : engine}; or set \`engines.${engine}.socket\` (now ${socket})`;
}

function readVersion(body: string): {version: string; api: string} {
  const text = (value: unknown): string => (typeof value === 'string' && /^[\w.+~-]{1,64}$/.test(value) ? value : '');
  try {
    const answer = JSON.parse(body) as {Version?: unknown; ApiVersion?: unknown} | null;
    return {version: text(answer?.Version), api: text(answer?.ApiVersion)};
  } catch {
    return {version: '', api: ''};
  }
}
