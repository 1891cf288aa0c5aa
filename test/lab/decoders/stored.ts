/** Decoders of what lies in the state or comes from the kernel: rows, journals, attributes, events, /proc. */
import {encodeJournal, decodeJournal} from '../../../src/apply/journal-record.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {assembleSignature, leafRow} from '../../../src/delta/signature.ts';
import {mountedBelow, parseMountinfo, placeOf} from '../../../src/engine/mountinfo.ts';
import {InotifyEvents} from '../../../src/linux/inotify.ts';
import {
  ACCESS_ACL,
  attrsFault,
  attrsOfClasses,
  ATTRS_BYTES_MAX,
  CAPABILITY,
  decodeAttrs,
  encodeAttrs,
  modeWithoutAcl,
  withAttrs,
} from '../../../src/model/attrs.ts';
import {IdMap} from '../../../src/model/ids.ts';
import {pathFromJson, pathToJson} from '../../../src/model/path-json.ts';
import {relPathFault} from '../../../src/model/path.ts';
import {entryDigestBytes, treeEntryOf} from '../../../src/model/tree.ts';
import {PLAIN_VIEW, viewDigest} from '../../../src/model/view.ts';
import {Database, type SqlRow} from '../../../src/state/database.ts';
import {TowlineError} from '../../../src/base/errors.ts';
import {entryOf, fillRow, outlineOf, SUMMED_AT} from '../../../src/state/entry-row.ts';
import {rowSum} from '../../../src/state/row-sum.ts';
import {JOURNAL_SCHEMA, JOURNAL_SCHEMA_VERSION, JournalStore} from '../../../src/state/journal-store.ts';
import {viewFrom} from '../../../src/state/stored-view.ts';
import {mappedIn} from '../../../src/watch/mapped-files.ts';
import {mutatedJson} from '../mutations.ts';
import {must, type Decoder} from './decoder.ts';
import {signatureOf} from '../../unit/delta/signature-of.ts';

await loadXxhash();

const ACL = Buffer.from(
  '02000000 01000600ffffffff 02000400e8030000 04000400ffffffff 10000600ffffffff 20000000ffffffff'.replaceAll(' ', ''),
  'hex',
);
const ATTRS = [
  encodeAttrs([{name: 'user.x', value: Buffer.of(7)}]),
  encodeAttrs([
    {name: ACCESS_ACL, value: ACL},
    {name: CAPABILITY, value: Buffer.alloc(20, 1)},
    {name: 'trusted.a', value: Buffer.alloc(0)},
    {name: 'user.b', value: Buffer.alloc(300, 5)},
  ]),
];
const NAMES = ['user.', 'trusted.', 'trusted.towline.', ACCESS_ACL, 'security.selinux'].map((name) =>
  Buffer.from(name),
);

const attrs: Decoder = {
  name: 'attributes',
  corpus: ATTRS,
  words: NAMES,
  refuses: ['INTEGRITY'],
  decode: (input) => {
    if (attrsFault(input) === undefined) {
      must(input.length <= ATTRS_BYTES_MAX, 'more attributes were taken than may be');
      must(encodeAttrs(decodeAttrs(input)).equals(input), 'attributes that were taken are not canonical');
    }
    // As the state gives them, where nobody has judged them before.
    attrsOfClasses(input, ['user', 'acl']);
    modeWithoutAcl(0o640, input);
    new IdMap(['0-999:100000']).mapAttrs(input);
    withAttrs(input, ATTRS[0] as Buffer, ['user']);
  },
};

const ENTRY = {
  name: 'x',
  type: 'file',
  mode: 0o644,
  uid: 1,
  gid: 2,
  sizeBytes: 3,
  allocatedBytes: 4096,
  mtime: {s: 1, ns: 2},
  ctime: {s: 1, ns: 2},
  btime: {s: 1, ns: 2},
  ino: 12,
  nlink: 1,
  rdev: 0,
  mountId: 21,
  content: Buffer.alloc(32, 9),
  linkTarget: '',
  isIncomplete: false,
  seq: 7,
  version: [
    {agent: '00000000000000aa', counter: 5},
    {agent: '00000000000000bb', counter: 6},
  ],
  attrs: ATTRS[1] as Buffer,
} as const;
const ROW = fillRow([], {parentId: 1, key: 2, dirId: 0}, {...ENTRY, version: [...ENTRY.version]}) as SqlRow;
const VERSION_COLUMN = 25;
const VERSION = ROW[VERSION_COLUMN] as Buffer;

/** The columns of a row that hold bytes, one after the other: content, version, attributes. */
const rows: Decoder = {
  name: 'rows of entries',
  corpus: [Buffer.concat([ENTRY.content, VERSION, ENTRY.attrs])],
  words: NAMES,
  refuses: ['INTEGRITY'],
  decode: (input) => {
    const row = [...ROW];
    const bytes = Uint8Array.from(input); // as SQLite gives them
    row[3] = (input[0] ?? 0) % 9;
    [row[20], row[VERSION_COLUMN], row[26]] = [bytes.subarray(0, 32), bytes.subarray(32, 64), bytes.subarray(64)];
    row[28] = rowSum(row, SUMMED_AT); // what damage leaves as it was is not what is looked for here
    const entry = entryOf(row, {damaged: (what) => new TowlineError('STATE_DAMAGED', what, {path: '', what})});
    outlineOf(row.slice(1, 15));
    if (entry.type === undefined) return; // a type that this version does not know is left to who reads on
    for (const view of [PLAIN_VIEW, {...PLAIN_VIEW, xattrs: ['user']}])
      entryDigestBytes(treeEntryOf(entry, view), view, 'source');
  },
};

const OPTIONS = {blockBytes: 512, seed: Buffer.alloc(8, 7), withWeak: false};
const SIGNATURE = signatureOf(Buffer.alloc(40_000, 'towline'), OPTIONS);

/** Block size and size of the file, 8 bytes each, then the row. */
const signatureRows: Decoder = {
  name: 'rows of signatures',
  corpus: [Buffer.concat([numbers(SIGNATURE.blockBytes, SIGNATURE.sizeBytes), leafRow(SIGNATURE, 0)])],
  refuses: [],
  decode: (input) => {
    if (input.length < 16) return;
    const [blockBytes, sizeBytes] = [Number(input.readBigInt64BE(0)), Number(input.readBigInt64BE(8))];
    const rest = input.subarray(16);
    const found = assembleSignature(blockBytes, sizeBytes, [rest.subarray(0, 600), rest.subarray(600)]);
    if (found === undefined) return;
    must(found.strong.length === Math.ceil(sizeBytes / blockBytes) * 8, 'sums of another count of blocks');
  },
};

function numbers(...values: number[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length);
  values.forEach((value, index) => bytes.writeBigInt64BE(BigInt(value), 8 * index));
  return bytes;
}

const JOURNAL = encodeJournal({
  version: 1,
  batch: 4,
  atMs: 5,
  records: [
    {kind: 'delete', index: 0, path: 'a/\xff', ino: 7, type: 'file'},
    {kind: 'exchange', index: 1, path: 'a', to: 'b', ino: 7, toIno: 8},
  ],
});
const db = new Database({
  place: ':memory:',
  file: 'journal.db',
  schemaVersion: JOURNAL_SCHEMA_VERSION,
  schema: JOURNAL_SCHEMA,
  cacheKiB: 1_024,
  checkpointPages: 1_000,
  isExclusive: true,
  bootId: '',
});
const journal = new JournalStore(db);
journal.append({id: 4, body: JOURNAL});
const [[, , SUM]] = db.prepare('SELECT id, body, sum FROM batches').all() as unknown as [[number, Buffer, Buffer]];
const write = db.prepare('UPDATE batches SET body = ?, sum = ? WHERE id = 4');

/** The sum of a batch, and the batch. */
const journals: Decoder = {
  name: 'journal',
  corpus: [Buffer.concat([SUM, JOURNAL])],
  refuses: ['STATE_DAMAGED'],
  decode: (input) => {
    write.run(input.subarray(32), input.subarray(0, 32));
    for (const {body} of journal.pending()) {
      must(body.equals(JOURNAL), 'a batch was given out that is not what was written');
      decodeJournal(body);
    }
  },
};

const VIEW = {...PLAIN_VIEW, ignore: ['*.tmp'], xattrs: ['user'], special: 'skip' as const};
const VIEW_SUM = viewDigest(VIEW);

const storedViews: Decoder = {
  name: 'stored views',
  corpus: [Buffer.from(JSON.stringify(VIEW))],
  mutate: mutatedJson,
  refuses: [],
  decode: (input) => {
    const view = viewFrom(input.toString(), VIEW_SUM);
    must(view === undefined || viewDigest(view).equals(VIEW_SUM), 'another view was taken for the stored one');
  },
};

const shownPaths: Decoder = {
  name: 'paths in JSON',
  corpus: ['a/b', 'a/\xff', 'x'.repeat(300), 'a\nb'].map((path) =>
    Buffer.from(JSON.stringify(pathToJson('path', path))),
  ),
  mutate: mutatedJson,
  refuses: [],
  decode: (input) => {
    const fields = parsed(input) as Record<string, unknown> | null;
    const path = typeof fields === 'object' && fields !== null ? pathFromJson('path', fields) : undefined;
    must(path === undefined || relPathFault(path) === undefined, 'something else than a path was taken');
  },
};

function parsed(input: Buffer): unknown {
  try {
    return JSON.parse(input.toString());
  } catch {
    return undefined;
  }
}

/** As inotify(7) writes it: watch, mask, cookie, bytes of the name, the name with NULs. */
const EVENT = Buffer.alloc(16 + 16);
EVENT.writeInt32LE(3, 0);
EVENT.writeUInt32LE(0x100, 4);
EVENT.writeUInt32LE(16, 12);
EVENT.write('name', 16);
const QUEUE = Buffer.alloc(64 * 1024);

const events: Decoder = {
  name: 'inotify events',
  corpus: [EVENT, Buffer.concat([EVENT, EVENT, EVENT]), EVENT.subarray(0, 16)],
  refuses: [],
  decode: (input) => {
    const queue = new InotifyEvents(QUEUE);
    queue.reset(input.copy(QUEUE));
    let left = 1 + input.length / 16;
    while (queue.next()) {
      must(left-- > 0, 'more events than there is room for');
      must(queue.name().length <= input.length, 'a name from behind the events');
    }
  },
};

const MAPS = [
  '7f1a2000-7f1a3000 rw-s 00000000 08:01 393217                     /srv/data/page\n7f1b-7f1c r--p 00000000 00:00 0 \n',
  '7ffd7000-7ffd8000 rwxs 0001f000 fd:00 18446744073709551615 /a b\\012c (deleted)\n',
].map((text) => Buffer.from(text));

const maps: Decoder = {
  name: 'mapped files',
  corpus: MAPS,
  words: [' rw-s ', '\n', ' '].map((word) => Buffer.from(word)),
  refuses: [],
  decode: (input) => {
    for (const ino of mappedIn(input.toString('latin1'))) must(ino >= 0, 'a negative inode number');
  },
};

const MOUNTS = Buffer.from(
  `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
36 22 8:1 /var/lib/docker/volumes/a/_data /merged/data rw - ext4 /dev/sda1 rw
37 36 0:31 / /merged/data/a\\040b rw - tmpfs tmpfs rw
`,
);

const mounts: Decoder = {
  name: 'mounts',
  corpus: [MOUNTS],
  words: [' ', '\n', '\\040', '\\377', '/', '..'].map((word) => Buffer.from(word)),
  refuses: [],
  decode: (input) => {
    const found = parseMountinfo(input.toString('latin1'));
    placeOf('/merged/data/x', found);
    for (const path of mountedBelow({device: '8:1', path: '/var/lib/docker/volumes/a/_data'}, found))
      must(relPathFault(path) === undefined && path !== '', 'a mount that is no path of the volume');
  },
};

export const STORED_DECODERS: readonly Decoder[] = [
  attrs,
  rows,
  signatureRows,
  journals,
  storedViews,
  shownPaths,
  events,
  maps,
  mounts,
];
