/**
 * A volume's configuration with its role laid over it: who sends, whatever the file says. Pure.
 *
 * Invariant: a configuration that agrees with the role, and one that is as it was when the role was given, both lead to
 * the role; any other one leads to nothing being sent or received.
 */
import type {VolumeRole} from '../model/role.ts';
import type {SendConfig, VolumeConfig} from './agent-config.ts';

export interface RoleInForce {
  /** With the directions that are in force. */
  config: VolumeConfig;
  /** What to write into the configuration, where it says something else than the role. */
  advice: string | undefined;
  /** The configuration says a third thing: nothing may run. One sentence. */
  contradiction: string | undefined;
}

/** @param isPeer whether a peer of this name is paired */
export function roleInForce(config: VolumeConfig, role: VolumeRole, isPeer: (name: string) => boolean): RoleInForce {
  const {decided} = role;
  if (decided === undefined) return {config, advice: undefined, contradiction: undefined};
  const written = config.receive?.from ?? null;
  const {source, configured, followers} = decided;
  if (written !== source && written !== configured)
    return {config, advice: undefined, contradiction: contradictionOf(config.name, written, role)};
  const others = followers.filter(
    ({to, as}) => isPeer(to) && !config.send.some((send) => send.to === to && send.as === as),
  );
  const followed =
    source === null ? [...config.send, ...others.map((follower) => linkTo(config, follower))] : config.send;
  const send = followed.filter(({to}) => to !== source);
  const pin = written === source ? config.receive?.ignorePin : undefined;
  const receive = source === null ? undefined : {from: source, ignorePin: pin};
  const isWritten = written === source && others.length === 0;
  return {
    config: {...config, send, receive},
    advice: isWritten ? undefined : adviceFor(config.name, source, send),
    contradiction: undefined,
  };
}

/** A follower has the settings of its volume. */
function linkTo(config: VolumeConfig, {to, as}: {to: string; as: string}): SendConfig {
  const {name: _name, at: _at, send: _send, receive: _receive, ...settings} = config;
  return {...settings, to, as};
}

function adviceFor(name: string, source: string | null, send: readonly SendConfig[]): string {
  if (source !== null) {
    const alsoSend = send.length === 0 ? 'and no send:' : `and send: [${send.map(({to}) => to).join(', ')}]`;
    return `to make it permanent, write receive: ${source} ${alsoSend} at volume ${name}`;
  }
  const links = send.map(({to, as}) => (as === name ? to : `{to: ${to}, as: ${as}}`)).join(', ');
  return send.length === 0
    ? `to make it permanent, take receive: out at volume ${name}`
    : `to make it permanent, write send: [${links}] instead of receive: at volume ${name}`;
}

function contradictionOf(name: string, written: string | null, {decided, epoch}: VolumeRole): string {
  const said = written === null ? 'that it is sent from here' : `that it is received from ${written}`;
  const is =
    decided?.source === null
      ? 'it was promoted here, so it is the source: take receive: out'
      : `it follows ${decided?.source}: write receive: ${decided?.source}`;
  const other = written === null ? `promote ${name}` : `follow ${name} ${written}`;
  return `the configuration says of ${name} ${said}, but ${is} (epoch ${epoch.number}), or decide anew with towline ${other}; nothing is sent or received meanwhile`;
}
