/**
 * Layouts of the messages that concern the session, the opening of a link, and the proof of a cut.
 */
import {LIMIT_CAUSES, LIMIT_KINDS, type Holding, type View, type ViewLimits} from '../model/view.ts';
import {byCode, MODE_CODE, SOURCE_STATE_CODE, SPECIAL_CODE} from './codes.ts';
import {CREDIT_BYTES_MAX} from './credits.ts';
import {encodeBug} from './fault.ts';
import {readDigest, writeDigest, type MessageCodec} from './fields.ts';
import * as limits from './limits.ts';
import type {Reader} from './reader.ts';
import type {Writer} from './writer.ts';

/** "TWLN": what is not Towline is told apart by its first message. */
export const HELLO_MAGIC = 0x54574c4e;
const MODE_OF_CODE = byCode(MODE_CODE);
const SPECIAL_OF_CODE = byCode(SPECIAL_CODE);
const SOURCE_STATE_OF_CODE = byCode(SOURCE_STATE_CODE);
const DRY_RUN_BIT = 1;
const DURABLE_BIT = 2;
const OWNERS_BIT = 1;
const DEVICES_BIT = 2;
const SETUID_BIT = 4;
const MODES_BIT = 8;
const KINDS_BITS = OWNERS_BIT | DEVICES_BIT | SETUID_BIT | MODES_BIT;

type SessionKind =
  | 'hello'
  | 'ping'
  | 'pong'
  | 'credit'
  | 'fault'
  | 'bye'
  | 'identity-next'
  | 'identity-pinned'
  | 'volume-ready'
  | 'follow-volume'
  | 'volume-source';
type LinkKind =
  'open-link' | 'link-opened' | 'link-refused' | 'close-link' | 'link-state' | 'target-changed' | 'cut' | 'cut-result';

export const SESSION_CODECS: {[K in SessionKind]: MessageCodec<K>} = {
  hello: {
    write(writer, message) {
      writer.u32(HELLO_MAGIC);
      writer.u16(message.versionMin);
      writer.u16(message.versionMax);
      writer.token(message.instance, limits.TOKEN_BYTES_MAX);
      writer.text(message.name, limits.LABEL_BYTES_MAX);
      writeStrings(writer, message.features, limits.FEATURES_MAX, limits.FEATURE_BYTES_MAX);
    },
    read(reader) {
      const magic = reader.u32();
      if (magic !== HELLO_MAGIC) throw reader.fault('magic number', magic, HELLO_MAGIC);
      const versionMin = reader.u16();
      const versionMax = reader.within('newest version', reader.u16(), Math.max(versionMin, 1), 0xffff);
      const instance = reader.token('instance', limits.TOKEN_BYTES_MAX);
      const name = reader.text('name', limits.LABEL_BYTES_MAX);
      const features = readStrings(reader, 'features', limits.FEATURES_MAX, limits.FEATURE_BYTES_MAX);
      return {kind: 'hello', versionMin, versionMax, features, name, instance};
    },
  },
  ping: {
    write: (writer, message) => writer.u64(message.nonce),
    read: (reader) => ({kind: 'ping', nonce: reader.u64('nonce')}),
  },
  pong: {
    write: (writer, message) => writer.u64(message.nonce),
    read: (reader) => ({kind: 'pong', nonce: reader.u64('nonce')}),
  },
  credit: {
    write(writer, message) {
      writer.u32(message.bytes);
      writer.u32(message.of);
      writer.flag(message.isOurs);
    },
    read: (reader) => ({
      kind: 'credit',
      bytes: reader.within('credit', reader.u32(), 1, CREDIT_BYTES_MAX),
      of: reader.u32(),
      isOurs: reader.flag('side of a link'),
    }),
  },
  fault: {
    write(writer, message) {
      writer.text(message.code, limits.LABEL_BYTES_MAX);
      writer.text(message.message, limits.MESSAGE_TEXT_BYTES_MAX);
    },
    read: (reader) => ({
      kind: 'fault',
      code: reader.text('error code', limits.LABEL_BYTES_MAX),
      message: reader.text('error text', limits.MESSAGE_TEXT_BYTES_MAX),
    }),
  },
  bye: {
    write: (writer, message) => writer.text(message.reason, limits.MESSAGE_TEXT_BYTES_MAX),
    read: (reader) => ({kind: 'bye', reason: reader.text('reason', limits.MESSAGE_TEXT_BYTES_MAX)}),
  },
  'identity-next': {
    write(writer, message) {
      writer.token(message.publicKey, limits.KEY_BYTES_MAX);
      writer.token(message.signature, limits.KEY_BYTES_MAX);
    },
    read: (reader) => ({
      kind: 'identity-next',
      publicKey: reader.token('public key', limits.KEY_BYTES_MAX),
      signature: reader.token('signature', limits.KEY_BYTES_MAX),
    }),
  },
  'identity-pinned': {
    write: (writer, message) => writeDigest(writer, message.id),
    read: (reader) => ({kind: 'identity-pinned', id: readDigest(reader)}),
  },
  'volume-ready': {
    write: (writer, message) => writer.text(message.volume, limits.LABEL_BYTES_MAX),
    read: (reader) => ({kind: 'volume-ready', volume: reader.text('volume', limits.LABEL_BYTES_MAX)}),
  },
  'follow-volume': {
    write(writer, message) {
      writer.u32(message.request);
      writer.text(message.volume, limits.LABEL_BYTES_MAX);
      writer.text(message.as, limits.LABEL_BYTES_MAX);
      writer.flag(message.isFollowing);
      writer.u64(message.epoch);
      writer.u64(message.confirmedDeletes);
    },
    read: (reader) => ({
      kind: 'follow-volume',
      request: reader.u32(),
      volume: reader.text('volume', limits.LABEL_BYTES_MAX),
      as: reader.text('own name of the volume', limits.LABEL_BYTES_MAX),
      isFollowing: reader.flag('whether it follows'),
      epoch: reader.u64('epoch'),
      confirmedDeletes: reader.u64('confirmed deletes'),
    }),
  },
  'volume-source': {
    write(writer, message) {
      writer.u32(message.request);
      writer.flag(message.isSource);
      writer.u64(message.epoch);
      writer.u64(message.sinceMs);
      writer.text(message.reason, limits.MESSAGE_TEXT_BYTES_MAX);
    },
    read: (reader) => ({
      kind: 'volume-source',
      request: reader.u32(),
      isSource: reader.flag('whether it is the source'),
      epoch: reader.u64('epoch'),
      sinceMs: reader.u64('time of the promotion'),
      reason: reader.text('reason', limits.MESSAGE_TEXT_BYTES_MAX),
    }),
  },
};

export const LINK_CODECS: {[K in LinkKind]: MessageCodec<K>} = {
  'open-link': {
    write(writer, message) {
      writer.text(message.volume, limits.LABEL_BYTES_MAX);
      writer.u8(MODE_CODE[message.mode]);
      writer.u8((message.isDryRun ? DRY_RUN_BIT : 0) | (message.isDurable ? DURABLE_BIT : 0));
      writer.u64(message.epoch);
      writer.u64(message.ackedSeq);
      writer.u64(message.confirmedDeletes);
      writeDigest(writer, message.viewDigest);
      writeView(writer, message.view);
    },
    read(reader, link) {
      const volume = reader.text('volume', limits.LABEL_BYTES_MAX);
      const mode = reader.kind('mode', MODE_OF_CODE);
      const bits = reader.within('flags of the link', reader.u8(), 0, DRY_RUN_BIT | DURABLE_BIT);
      return {
        kind: 'open-link',
        link,
        volume,
        mode,
        isDryRun: (bits & DRY_RUN_BIT) !== 0,
        isDurable: (bits & DURABLE_BIT) !== 0,
        epoch: reader.u64('epoch'),
        ackedSeq: reader.u64('acked sequence'),
        confirmedDeletes: reader.u64('confirmed deletes'),
        viewDigest: readDigest(reader),
        view: readView(reader),
      };
    },
  },
  'link-opened': {
    write(writer, message) {
      writer.u64(message.epoch);
      writeLimits(writer, message.limits);
      writeCauses(writer, message.causes);
      writer.u32(message.owner.uid);
      writer.u32(message.owner.gid);
      writeDigest(writer, message.groupsDigest);
      writeDigest(writer, message.rootDigest);
      writer.u64(message.entryCount);
      writer.token(message.stateId, limits.TOKEN_BYTES_MAX);
    },
    read: (reader, link) => ({
      kind: 'link-opened',
      link,
      epoch: reader.u64('epoch'),
      limits: readLimits(reader),
      causes: readCauses(reader),
      owner: {uid: reader.u32(), gid: reader.u32()},
      groupsDigest: readDigest(reader),
      rootDigest: readDigest(reader),
      entryCount: reader.u64('count of entries'),
      stateId: reader.token('state id', limits.TOKEN_BYTES_MAX),
    }),
  },
  'link-refused': {
    write(writer, message) {
      writer.text(message.code, limits.LABEL_BYTES_MAX);
      writer.text(message.message, limits.MESSAGE_TEXT_BYTES_MAX);
      writer.u64(message.count);
      writer.u64(message.limit);
    },
    read: (reader, link) => ({
      kind: 'link-refused',
      link,
      code: reader.text('error code', limits.LABEL_BYTES_MAX),
      message: reader.text('error text', limits.MESSAGE_TEXT_BYTES_MAX),
      count: reader.u64('count'),
      limit: reader.u64('limit'),
    }),
  },
  'close-link': {
    write: (writer, message) => writer.text(message.reason, limits.MESSAGE_TEXT_BYTES_MAX),
    read: (reader, link) => ({
      kind: 'close-link',
      link,
      reason: reader.text('reason', limits.MESSAGE_TEXT_BYTES_MAX),
    }),
  },
  'link-state': {
    write(writer, message) {
      writer.u8(SOURCE_STATE_CODE[message.state]);
      writer.u64(message.cut);
      writer.u64(message.problemCount);
      writer.text(message.reason, limits.MESSAGE_TEXT_BYTES_MAX);
    },
    read: (reader, link) => ({
      kind: 'link-state',
      link,
      state: reader.kind('state of the link', SOURCE_STATE_OF_CODE),
      cut: reader.u64('cut'),
      problemCount: reader.u64('count of problems'),
      reason: reader.text('reason', limits.MESSAGE_TEXT_BYTES_MAX),
    }),
  },
  'target-changed': {
    write: () => undefined,
    read: (_reader, link) => ({kind: 'target-changed', link}),
  },
  cut: {
    write(writer, message) {
      writer.u64(message.cut);
      writer.u64(message.seq);
      writeDigest(writer, message.rootDigest);
      writeDigest(writer, message.groupsDigest);
    },
    read: (reader, link) => ({
      kind: 'cut',
      link,
      cut: reader.u64('cut'),
      seq: reader.u64('sequence'),
      rootDigest: readDigest(reader),
      groupsDigest: readDigest(reader),
    }),
  },
  'cut-result': {
    write(writer, message) {
      writer.u64(message.cut);
      writeDigest(writer, message.rootDigest);
      writeDigest(writer, message.groupsDigest);
      writer.u64(message.entryCount);
      writer.flag(message.isDurable);
    },
    read: (reader, link) => ({
      kind: 'cut-result',
      link,
      cut: reader.u64('cut'),
      rootDigest: readDigest(reader),
      groupsDigest: readDigest(reader),
      entryCount: reader.u64('count of entries'),
      isDurable: reader.flag('durability'),
    }),
  },
};

function writeView(writer: Writer, view: View): void {
  writeLimits(writer, view);
  writeStrings(writer, view.ignore, limits.IGNORE_PATTERNS_MAX, limits.IGNORE_BYTES_MAX);
  const ignoreBytes = view.ignore.reduce((bytes, pattern) => bytes + Buffer.byteLength(pattern), 0);
  if (ignoreBytes > limits.IGNORE_BYTES_MAX) throw encodeBug(`ignore patterns of ${ignoreBytes} bytes`);
  writeStrings(writer, view.ids, limits.VIEW_LIST_MAX, limits.VIEW_ITEM_BYTES_MAX);
}

function readView(reader: Reader): View {
  const viewLimits = readLimits(reader);
  const leftBytes = reader.leftBytes;
  const ignore = readStrings(reader, 'ignore patterns', limits.IGNORE_PATTERNS_MAX, limits.IGNORE_BYTES_MAX);
  const ignoreBytes = leftBytes - reader.leftBytes - 2 - 2 * ignore.length;
  reader.within('bytes of ignore patterns', ignoreBytes, 0, limits.IGNORE_BYTES_MAX);
  const ids = readStrings(reader, 'id ranges', limits.VIEW_LIST_MAX, limits.VIEW_ITEM_BYTES_MAX);
  return {...viewLimits, ignore, ids};
}

/** What of a view a receiver may narrow. */
function writeLimits(writer: Writer, limited: ViewLimits): void {
  const {timePrecisionNs, special, owners, devices, setuid, modes, xattrs} = limited;
  const bits = (owners ? OWNERS_BIT : 0) | (devices ? DEVICES_BIT : 0) | (setuid ? SETUID_BIT : 0);
  writer.u32(timePrecisionNs);
  writer.u8(SPECIAL_CODE[special]);
  writer.u8(bits | (modes ? MODES_BIT : 0));
  writeStrings(writer, xattrs, limits.VIEW_LIST_MAX, limits.VIEW_ITEM_BYTES_MAX);
}

function readLimits(reader: Reader): ViewLimits {
  const timePrecisionNs = readPrecision(reader);
  const special = reader.kind('policy for special files', SPECIAL_OF_CODE);
  const bits = reader.within('bits of a view', reader.u8(), 0, KINDS_BITS);
  const has = (bit: number): boolean => (bits & bit) !== 0;
  const xattrs = readStrings(reader, 'xattr classes', limits.VIEW_LIST_MAX, limits.VIEW_ITEM_BYTES_MAX);
  const owned = {owners: has(OWNERS_BIT), modes: has(MODES_BIT), setuid: has(SETUID_BIT)};
  return {timePrecisionNs, special, xattrs, devices: has(DEVICES_BIT), ...owned};
}

/** `KIND:CAUSE`; what a later version limits is not known here, and left out. */
function writeCauses(writer: Writer, causes: Holding['causes']): void {
  const told = Object.entries(causes).map(([kind, cause]) => `${kind}:${cause}`);
  writeStrings(writer, told, limits.VIEW_LIST_MAX, limits.VIEW_ITEM_BYTES_MAX);
}

function readCauses(reader: Reader): Holding['causes'] {
  const told = readStrings(reader, 'causes of limits', limits.VIEW_LIST_MAX, limits.VIEW_ITEM_BYTES_MAX);
  const causes: Holding['causes'] = {};
  for (const text of told) {
    const [kind, cause] = text.split(':');
    const known = LIMIT_KINDS.find((each) => each === kind);
    const why = LIMIT_CAUSES.find((each) => each === cause);
    if (known !== undefined && why !== undefined) causes[known] = why;
  }
  return causes;
}

function readPrecision(reader: Reader): number {
  return reader.within('time precision', reader.u32(), 1, limits.TIME_PRECISION_NS_MAX);
}

/** u16 count of strings that must arrive exactly. */
function writeStrings(writer: Writer, strings: readonly string[], countMax: number, bytesMax: number): void {
  writer.count(strings.length, countMax);
  for (const text of strings) writer.exact(text, bytesMax);
}

function readStrings(reader: Reader, rule: string, countMax: number, bytesMax: number): string[] {
  const count = reader.count(rule, countMax, 2);
  const strings: string[] = [];
  for (let index = 0; index < count; index++) strings.push(reader.exact(rule, bytesMax));
  return strings;
}
