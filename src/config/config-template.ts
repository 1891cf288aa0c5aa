/**
 * The configuration that `init` writes: what is set, and the rest as comments to be filled in.
 */
import {stringify} from 'yaml';
import type {HostPort} from './agent-config.ts';
import {showHostPort} from './host-port.ts';

export interface TemplateOptions {
  name: string;
  /** Undefined: the agent only dials. */
  listen: HostPort | undefined;
  /** Undefined: the usual place. */
  stateFolder: string | undefined;
}

/** YAML that is valid as it is, and with the comments of each block taken away. */
export function configTemplate({name, listen, stateFolder}: TemplateOptions): string {
  const listenLine = listen === undefined ? '# listen: "[::]:7420"' : `listen: ${scalar(showHostPort(listen))}`;
  const stateLine = stateFolder === undefined ? '# state: /var/lib/towline' : `state: ${scalar(stateFolder)}`;
  return `# Configuration of the Towline agent on this host. To check it: towline config check
# With all defaults filled in: towline config show. After a change: systemctl reload towline

agent:
  name: ${scalar(name)} # for people; the identity is the key in the state folder
  ${listenLine} # where peers dial; leave it out to dial only
  ${stateLine}

# Peers that were paired (towline invite here, towline join CODE there) are in peers.d/ beside this file.
# peers:
#   db-2: {id: "<64 hex digits, as towline id prints them there>", address: "db-2.internal:7420"}

# volumes:
#   pgdata:
#     at: docker:pgdata             # a Docker volume; or /srv/data, docker-container:web:/var/www, podman:NAME
#     send: [db-2]                  # names of peers; there the volume is configured with receive: ${name}
#     # ignore: ["*.tmp", "/cache/"]  # gitignore syntax
#     # when: live                  # or every 15m
#     # guard: {delete-share: 50%, delete-count: 10000}  # more deletes at once ask first
#     # limit: {rate: 0}            # bytes a second, like 1MiB; 0 for no limit
`;
}

function scalar(text: string): string {
  return stringify(text, {lineWidth: 0}).trimEnd();
}
