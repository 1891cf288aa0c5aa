/**
 * `towline config check`, `show` and `schema`.
 */
import type {AgentConfig} from '../config/agent-config.ts';
import {editorSchema} from '../config/agent-schema.ts';
import {loadAgentConfig} from '../config/load-config.ts';
import {showAgentConfig} from '../config/show-config.ts';
import {CONFIG_FILE} from '../config/state-folder.ts';
import {stateFolderOf} from '../config/sync-options.ts';
import {formatCount} from '../config/units.ts';
import type {CommonFlags} from './common-options.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {Teller} from './teller.ts';
import {oneLine, plural} from './text.ts';

/** The configuration that is meant by `--config` and `--state`. @throws TowlineError USAGE */
export function configOf(flags: CommonFlags, parts: CliParts): AgentConfig {
  return loadAgentConfig({
    file: flags.config ?? CONFIG_FILE,
    stateFolder: stateFolderOf(flags.state),
    env: parts.env,
  });
}

export async function configCheckCommand(flags: CommonFlags, parts: CliParts & {screen: Screen}): Promise<number> {
  const teller = new Teller(flags, parts);
  const config = configOf(flags, parts);
  const {file, volumes, peers} = config;
  const notices = [...config.notices, ...(await parts.loadDoctor()).configNotices(config)];
  const counts = [
    plural(volumes.length, formatCount(volumes.length), 'volume'),
    plural(peers.length, formatCount(peers.length), 'peer'),
  ];
  teller.line(`ok: ${counts.join(', ')}`, 'green');
  for (const notice of notices) teller.line(`note: ${oneLine(notice)}`, 'yellow');
  return teller.result(0, {file, volumes: volumes.length, peers: peers.length, notices});
}

export async function configShowCommand(flags: CommonFlags, parts: CliParts & {screen: Screen}): Promise<number> {
  const teller = new Teller(flags, parts);
  const config = configOf(flags, parts);
  const notices = (await parts.loadDoctor()).configNotices(config);
  if (!teller.isJson) {
    for (const notice of notices) parts.screen.line(`# ${oneLine(notice)}`);
    parts.screen.line(showAgentConfig(config).trimEnd()); // the result, so also with -q
  }
  teller.say('config', {...config, notices: [...config.notices, ...notices]});
  return teller.result(0);
}

/** JSON by itself: with and without `--json` the same. */
export async function configSchemaCommand(_flags: CommonFlags, parts: CliParts & {screen: Screen}): Promise<number> {
  parts.screen.line(editorSchema().trimEnd());
  return 0;
}
