/**
 * What a volume's links are set to: defaults below the volume's keys, those below the link's own. Pure.
 */
import type {HookConfig, HookName, LinkSettings} from './agent-config.ts';
import type {RawSendLink, RawVolume} from './agent-schema.ts';

const DAY_MS = 86_400_000;

export const DEFAULTS: LinkSettings = {
  when: {kind: 'live'},
  watch: 'auto',
  ignore: [],
  special: 'keep',
  ids: [],
  settleMs: 50, // longer than the pause between the writes of one save
  maxWaitMs: 2_000,
  hot: 'wait',
  extents: 'off',
  rescanMs: 3_600_000,
  durability: 'batch',
  deleteLimits: {share: 0.5, count: 10_000, shareFrom: 20},
  trash: {keepMs: 7 * DAY_MS, sizeBytes: 10 * 2 ** 30},
  rateBytes: 0,
  drift: 'repair',
  inPlaceAbove: undefined,
  accept: {setuid: true, devices: false, owners: 'any', xattrs: ['user', 'acl', 'capability']},
};

/** @param layers the volume's keys, then those of one of its links; the later wins, key by key */
export function settle(layers: readonly Partial<RawVolume & RawSendLink>[]): LinkSettings {
  const settings = layers.reduce<LinkSettings>(lay, DEFAULTS);
  // Who lets files settle for long and says no more means that the longest wait is at least as long.
  const isMaxWaitSet = layers.some((layer) => layer['max-wait'] !== undefined);
  return isMaxWaitSet ? settings : {...settings, maxWaitMs: Math.max(settings.maxWaitMs, settings.settleMs)};
}

function lay(below: LinkSettings, raw: Partial<RawVolume & RawSendLink>): LinkSettings {
  return {
    when: raw.when ?? below.when,
    watch: raw.watch ?? below.watch,
    ignore: raw.ignore ?? below.ignore,
    special: raw.special ?? below.special,
    ids: raw.ids ?? below.ids,
    settleMs: raw.settle ?? below.settleMs,
    maxWaitMs: raw['max-wait'] ?? below.maxWaitMs,
    hot: raw.hot ?? below.hot,
    extents: raw.extents ?? below.extents,
    rescanMs: raw.rescan ?? below.rescanMs,
    durability: raw.durability ?? below.durability,
    deleteLimits: {
      share: raw.guard?.['delete-share'] ?? below.deleteLimits.share,
      count: raw.guard?.['delete-count'] ?? below.deleteLimits.count,
      shareFrom: raw.guard?.['share-from'] ?? below.deleteLimits.shareFrom,
    },
    trash: {keepMs: raw.trash?.keep ?? below.trash.keepMs, sizeBytes: raw.trash?.size ?? below.trash.sizeBytes},
    rateBytes: raw.limit?.rate ?? below.rateBytes,
    drift: raw.drift ?? below.drift,
    inPlaceAbove: inPlaceAboveOf(raw.replace) ?? below.inPlaceAbove,
    accept: {
      setuid: raw.accept?.setuid ?? below.accept.setuid,
      devices: raw.accept?.devices ?? below.accept.devices,
      owners: raw.accept?.owners ?? below.accept.owners,
      xattrs: raw.accept?.xattrs ?? below.accept.xattrs,
    },
  };
}

const HOOK_MS = 30_000;

/** A volume's hooks; an empty list of words is none. */
export function hooksOf({hooks}: Pick<RawVolume, 'hooks'>): Record<HookName, HookConfig | undefined> {
  const hookOf = (raw: NonNullable<RawVolume['hooks']>[HookName]): HookConfig | undefined => {
    if (raw === undefined || raw.run.length === 0) return undefined;
    const {timeout, 'on-failure': onFailure} = {timeout: undefined, 'on-failure': undefined, ...raw};
    return {run: raw.run, timeoutMs: timeout ?? HOOK_MS, onFailure: onFailure ?? 'stop'};
  };
  return {quiesce: hookOf(hooks?.quiesce), resume: hookOf(hooks?.resume)};
}

function inPlaceAboveOf(replace: RawVolume['replace']): number | undefined {
  return typeof replace === 'object' ? replace['in-place-above'] : undefined;
}
