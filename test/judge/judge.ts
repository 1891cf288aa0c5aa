/**
 * Tells whether two directories are equal, by programs that are not Towline's: rsync, find, stat, getfattr, getfacl,
 * getcap, and a walk on descriptors in Python. Each compares what it knows; a difference counts when one of them sees it.
 *
 * Left out are Towline's own things (`.towline` in the root, attributes `trusted.towline.*`), inode numbers, ctimes, sizes
 * of directories, and names that a hard link has elsewhere (in a trash, for instance). Of holes only this is asked: the target holds no more data than the source.
 */
import {compareFacts, noteGroups, printablePath, type TreeFacts} from './facts.ts';
import {readByFind, readByGetcap, readByGetfacl, readByGetfattr, readByRsync, readByStat, readByWalk} from './tools.ts';

const PATH_BYTES_MAX = 4095;
const HOLE_SLACK_BYTES = 64 * 1024; // the edges of holes, and a filesystem's own blocks

/** What a view may leave out. Without `xattrs` there are no `trusted` ones and no `capabilities` either. */
export type Kind =
  'owners' | 'times' | 'devices' | 'specials' | 'xattrs' | 'trusted' | 'capabilities' | 'acls' | 'hard-links' | 'holes';

export interface JudgeOptions {
  /** Not compared; of devices and specials (FIFOs and sockets) not even whether they are there. */
  leaveOut?: readonly Kind[];
  /** `descriptors`: only the walk on descriptors, as where a path is too long for the other programs. */
  by?: 'all' | 'descriptors';
  /** Bytes of data that a file of the target may have more than the source's. Default 64 KiB. */
  holeSlackBytes?: number;
}

interface Rules {
  isOut: (kind: Kind) => boolean;
  holeSlackBytes: number;
}

/** Names of facts, of find and of the walk, that belong to a kind. */
const FACTS_OF: Partial<Record<Kind, RegExp>> = {
  owners: /^[ug]id$/,
  times: /^mtime$/,
  xattrs: /^(xattr )?(user|trusted|security)\./,
  trusted: /^(xattr )?trusted\./,
  capabilities: /^(xattr )?security\.capability$/,
  acls: /^(xattr )?system\.posix_acl_(access|default)$/,
  'hard-links': /^hard link of$/,
};
const TYPES_OF: Partial<Record<Kind, string[]>> = {devices: ['b', 'c'], specials: ['p', 's']};
const RSYNC_OPTIONS: Partial<Record<Kind, readonly string[]>> = {
  owners: ['--no-owner', '--no-group'],
  times: ['--no-times'],
  devices: ['--no-devices'],
  specials: ['--no-specials'],
  xattrs: ['--no-xattrs'],
  trusted: ['--filter=-x trusted.*'],
  capabilities: ['--filter=-x security.capability'],
  acls: ['--no-acls'],
  'hard-links': ['--no-hard-links'],
};

/**
 * Compares two directories that rest.
 * @returns one line for each difference that a program saw, paths escaped; none when they are equal
 * @throws when a program fails, so that what could not be looked at is never taken for equal
 */
export async function judge(source: string, target: string, options: JudgeOptions = {}): Promise<string[]> {
  const rules: Rules = {
    isOut: (kind) => options.leaveOut?.includes(kind) === true,
    holeSlackBytes: options.holeSlackBytes ?? HOLE_SLACK_BYTES,
  };
  const roots = [source, target] as const;
  const [[here, there], found] = await Promise.all([
    readByWalk(...roots),
    options.by === 'descriptors' ? undefined : Promise.all(roots.map(readByFind)),
  ]);
  const walked = [here!, there!] as const;
  const bytesMax = Math.max(...walked.flatMap((facts) => [...facts.keys()]).map((path) => path.length));
  const isShort = bytesMax + 1 + Math.max(source.length, target.length) <= PATH_BYTES_MAX;
  return [
    ...compareListings('walk', walked, rules),
    ...(rules.isOut('holes') ? [] : compareHoles(walked, rules.holeSlackBytes)),
    ...(found === undefined ? [] : compareListings('find', [found[0]!, found[1]!], rules)),
    ...(options.by === 'descriptors' || !isShort ? [] : await askPathTools(roots, walked, rules)),
  ];
}

/** The programs that take paths. */
async function askPathTools(
  roots: readonly [string, string],
  walked: readonly [TreeFacts, TreeFacts],
  rules: Rules,
): Promise<string[]> {
  const both = async (
    tool: string,
    read: (root: string) => Promise<TreeFacts>,
    kept?: (fact: string) => boolean,
  ): Promise<string[]> => {
    const facts = await Promise.all(roots.map(read));
    const [here, there] = facts.map((tree, index) => viewOf(tree, walked[index]!, rules, kept));
    return compareFacts(tool, here!, there!);
  };
  const {isOut} = rules;
  const rsyncOptions = Object.entries(RSYNC_OPTIONS).flatMap(([kind, words]) => (isOut(kind as Kind) ? words : []));
  const lines = await Promise.all([
    isOut('devices') ? [] : both('stat', readByStat),
    both('getfattr', readByGetfattr),
    isOut('acls') ? [] : both('getfacl', readByGetfacl),
    isOut('xattrs') || isOut('capabilities') ? [] : both('getcap', readByGetcap),
    readByRsync(...roots, rsyncOptions).then((said) => said.map((line) => `rsync: ${line}`)),
  ]);
  return lines.flat();
}

/** What find and the walk say: both list everything, and know inodes. */
function compareListings(tool: string, found: readonly [TreeFacts, TreeFacts], rules: Rules): string[] {
  for (const facts of found) noteGroups(facts, (path) => facts.get(path)!['inode']!);
  const [here, there] = found.map((facts) =>
    viewOf(facts, facts, rules, (name) => !['inode', 'links', 'data', 'pieces', 'allocated'].includes(name)),
  );
  return compareFacts(tool, here!, there!);
}

/** A tree's facts without what is left out. @param types where the types of paths stand */
function viewOf(facts: TreeFacts, types: TreeFacts, {isOut}: Rules, kept?: (fact: string) => boolean): TreeFacts {
  const typesOut = Object.entries(TYPES_OF).flatMap(([kind, letters]) => (isOut(kind as Kind) ? letters : []));
  const factsOut = Object.entries(FACTS_OF).flatMap(([kind, pattern]) => (isOut(kind as Kind) ? [pattern] : []));
  const isKept = (name: string): boolean => (kept?.(name) ?? true) && !factsOut.some((pattern) => pattern.test(name));
  const view: TreeFacts = new Map();
  for (const [path, entry] of facts) {
    if (typesOut.includes(types.get(path)?.['type'] ?? '')) continue;
    const names = Object.entries(entry).filter(([name]) => isKept(name));
    // Not every program lists every path: one of which nothing is left must not count as an entry.
    if (names.length > 0) view.set(path, Object.fromEntries(names));
  }
  return view;
}

/** Files of the target that hold more data, or more blocks, than those of the source. */
function compareHoles([here, there]: readonly [TreeFacts, TreeFacts], slackBytes: number): string[] {
  return [...there].flatMap(([path, entry]) => {
    const origin = here.get(path);
    if (origin?.['type'] !== 'f' || entry['type'] !== 'f') return [];
    // XFS allocates ahead of what is written: up to as much again for each piece of data.
    const slacks = {data: slackBytes, allocated: slackBytes * (2 + Number(entry['pieces']))};
    return Object.entries(slacks).flatMap(([name, slack]) => {
      // What is allocated but not written has no data, and is as large on the target when it is written there.
      const wanted = Math.max(Number(origin[name]), Number(origin['allocated']));
      const got = Number(entry[name]);
      if (got <= wanted + slack) return [];
      return [`walk: ${printablePath(path)}: holes are filled: ${name} of ${wanted} bytes, on the target ${got}`];
    });
  });
}
