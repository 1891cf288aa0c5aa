/** Makes the links of a volume, as the configuration or a decision has them. Not started yet. */
import type {VolumeConfig} from '../config/agent-config.ts';
import type {AgentParts, LinkEvent} from './agent-parts.ts';
import {ReceiveLink} from './receive-link.ts';
import {SendLink} from './send-link.ts';
import type {VolumeEpochs} from './volume-epochs.ts';
import {receiveScope, sendScope} from './volume-scopes.ts';

export interface VolumeLinksOptions {
  /** With the directions that are in force. */
  config: VolumeConfig;
  epochs: VolumeEpochs;
  /** The volume's name on its source, where a decision says it. */
  sourceVolume: string | undefined;
  onEvent: (event: LinkEvent) => void;
}

export function linksOf(
  {config, epochs, sourceVolume: peerVolume, onEvent}: VolumeLinksOptions,
  parts: AgentParts,
): {sends: SendLink[]; receive: ReceiveLink | undefined} {
  const {name: volume, receive} = config;
  const sends = config.send.map((send) => {
    const notes = parts.file.notes(sendScope(volume, send.to, send.as));
    return new SendLink({volume, config: send, notes, epochs, onEvent}, parts);
  });
  if (receive === undefined) return {sends, receive: undefined};
  const notes = parts.file.notes(receiveScope(volume));
  const takeEpoch = (packed: number, peer: string) => epochs.take(packed, peer);
  return {sends, receive: new ReceiveLink({config, from: receive.from, peerVolume, notes, takeEpoch}, parts)};
}
