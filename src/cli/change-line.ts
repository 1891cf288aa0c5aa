/**
 * One change as one line for people: a sign, the path, how much, how fast. Pure.
 */
import {formatBytes, formatDuration} from '../config/units.ts';
import type {ShownOp, SyncEvent} from '../daemon/sync-api.ts';
import {showPath} from '../model/path.ts';

export type Change = Extract<SyncEvent, {kind: 'applied' | 'planned'}>;
export type Sign = '+' | '~' | '-' | '>';

const SIGN: Record<ShownOp, Sign> = {
  'make-dir': '+',
  'put-file': '+',
  'put-symlink': '+',
  'put-special': '+',
  link: '+',
  replace: '~',
  'set-meta': '~',
  rename: '>',
  exchange: '>',
  delete: '-',
};

/** The sign of a change, for its colour. */
export function signOf(change: Change): Sign {
  return SIGN[change.op];
}

/** `+ path (1.2 KiB)`, `~ path (attributes)`, `- path`, `> from → to`, with the latency of a live change at the end. */
export function changeLine(change: Change): string {
  const latency =
    change.kind === 'applied' && change.latencyMs !== undefined ? `  ${formatDuration(change.latencyMs)}` : '';
  return `${signOf(change)} ${subjectOf(change)}${latency}`;
}

function subjectOf(change: Change): string {
  const path = showPath(change.path);
  const to = change.to === undefined ? '' : showPath(change.to);
  switch (change.op) {
    case 'make-dir':
      return `${path}/`;
    case 'put-file':
    case 'replace':
      return `${path} (${formatBytes(change.sizeBytes)})`;
    case 'set-meta':
      return `${path} (attributes)`;
    case 'link':
      return `${path} = ${to}`;
    case 'rename':
      return `${path} → ${to}`;
    case 'exchange':
      return `${path} ⇄ ${to}`;
    case 'put-symlink':
    case 'put-special':
    case 'delete':
      return path;
  }
}
