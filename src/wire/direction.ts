/**
 * Which side of a link may send which kind. The session refuses the rest as out of order.
 *
 * The source of a link numbers it, so kinds of a source speak of the sender's links and kinds of a target of the
 * receiver's: both agents may use the same number for links of opposite directions.
 */
import type {MessageKind} from './messages.ts';

export const SENT_BY: Record<MessageKind, 'both' | 'source' | 'target'> = {
  hello: 'both',
  ping: 'both',
  pong: 'both',
  credit: 'both',
  fault: 'both',
  bye: 'both',
  'identity-next': 'both',
  'identity-pinned': 'both',
  'volume-ready': 'target',
  'follow-volume': 'both',
  'volume-source': 'both',
  'open-link': 'source',
  'link-opened': 'target',
  'link-refused': 'target',
  'close-link': 'source',
  'link-state': 'source',
  'target-changed': 'target',
  'partial-files': 'target',
  'list-nodes': 'source',
  'node-listing': 'target',
  'hash-files': 'source',
  'verify-files': 'source',
  'file-digests': 'target',
  'list-groups': 'source',
  'group-listing': 'target',
  'ask-signature': 'source',
  signature: 'target',
  'no-signature': 'target',
  batch: 'source',
  'batch-result': 'target',
  'file-start': 'source',
  'file-leaves': 'source',
  'file-end': 'source',
  'file-abort': 'source',
  'leaf-rejected': 'target',
  'file-staged': 'target',
  'file-holes': 'source',
  'ask-leaves': 'source',
  'leaves-held': 'target',
  'file-same': 'source',
  cut: 'source',
  'cut-result': 'target',
};
