/**
 * The programs that judge: each reads one tree (rsync both) and becomes facts. None of them is Towline's.
 *
 * Invariant: names travel as bytes, separated by NUL or escaped by the program; a program that fails fails the judge.
 */
import {spawn} from 'node:child_process';
import {join} from 'node:path';
import {withoutOwn, type EntryFacts, type TreeFacts} from './facts.ts';

/** Attributes that are no part of a volume: our marks, what belongs to the host's security modules, XFS's own ACLs. */
const LEFT_OUT = ['trusted.towline.*', 'trusted.SGI_ACL_*', 'security.selinux', 'security.ima', 'security.evm'];
const LEFT_OUT_XATTR = /^(trusted\.(towline\.|SGI_ACL_)|security\.(selinux|ima|evm)$)/;
const ESCAPED = /\\([0-7]{3})/g;

export type RunTool = (tool: string, args: readonly string[], cwd: string) => Promise<string>;

/** Runs a program in a folder. @returns its stdout, byte by byte; throws when it fails or complains */
export const runTool: RunTool = async (tool, args, cwd) => {
  const env = {...process.env, LC_ALL: 'C', TZ: 'UTC'};
  const child = spawn(tool, args, {cwd, env, stdio: ['ignore', 'pipe', 'pipe']});
  const parts: Buffer[] = [];
  const complaints: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => parts.push(part));
  child.stderr.on('data', (part: Buffer) => complaints.push(part));
  const status = await new Promise((resolve) => child.once('error', resolve).once('close', resolve));
  const said = Buffer.concat(complaints).toString().slice(0, 2_000);
  if (status !== 0 || said !== '') throw new Error(`${tool} in ${cwd} ended with ${String(status)}: ${said}`);
  return Buffer.concat(parts).toString('latin1');
};

const FIND_FIELDS = {
  type: '%y',
  mode: '%m',
  uid: '%U',
  gid: '%G',
  size: '%s',
  mtime: '%T@',
  link: '%l',
  links: '%n',
  inode: '%D:%i',
};

/** Type, rights, owner, ns time, target of a link, count of names, and size of everything (not of directories). */
export async function readByFind(root: string): Promise<TreeFacts> {
  const names = ['path', ...Object.keys(FIND_FIELDS)];
  const format = `${['%P', ...Object.values(FIND_FIELDS)].join('\\0')}\\0`;
  const fields = (await runTool('find', ['.', '-printf', format], root)).split('\0');
  const facts: TreeFacts = new Map();
  for (let at = 0; at + names.length < fields.length; at += names.length) {
    const entry: EntryFacts = {};
    names.forEach((name, index) => (entry[name] = fields[at + index]!));
    const {path = '', ...rest} = entry;
    if (rest['type'] === 'd') for (const name of ['size', 'links']) delete rest[name];
    facts.set(path, rest);
  }
  return withoutOwn(facts);
}

/** Device numbers, of devices only. */
export async function readByStat(root: string): Promise<TreeFacts> {
  const devices = ['(', '-type', 'b', '-o', '-type', 'c', ')'];
  const args = ['.', ...devices, '-exec', 'stat', '--printf=%F %t:%T/%n\\0', '{}', '+'];
  const lines = (await runTool('find', args, root)).split('\0').slice(0, -1);
  const facts = lines.map((line): [string, EntryFacts] => {
    const at = line.indexOf('/');
    return [pathOf(line.slice(at + 1)), {device: line.slice(0, at)}];
  });
  return withoutOwn(new Map(facts));
}

/** All extended attributes of everything, as hexadecimal digits. */
export async function readByGetfattr(root: string): Promise<TreeFacts> {
  const output = await runTool('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], root);
  return blocksOf(output, (line) => {
    const at = line.indexOf('=');
    const name = unescaped(at < 0 ? line : line.slice(0, at));
    return LEFT_OUT_XATTR.test(name) ? [] : [[name, at < 0 ? '' : line.slice(at + 1).replace(/^0x/, '')]];
  });
}

/** ACLs, of everything that has one beyond its mode. */
export async function readByGetfacl(root: string): Promise<TreeFacts> {
  const output = await runTool('getfacl', ['-R', '-P', '-n', '-s', '-E', '.'], root);
  return blocksOf(output, (line) => {
    if (line.startsWith('#')) return []; // owner, group and flags are find's
    const at = line.lastIndexOf(':');
    return [[line.slice(0, at), line.slice(at + 1)]];
  });
}

/** Capabilities of files, a line each as the program prints it: names with newlines make more, equal on both sides. */
export async function readByGetcap(root: string): Promise<TreeFacts> {
  const facts: TreeFacts = new Map();
  const lines = (await runTool('getcap', ['-r', '-n', '.'], root)).split('\n');
  for (const line of lines.filter((found) => found !== '' && !found.startsWith('./.towline/'))) {
    const count = facts.get(line)?.['lines'] ?? '0';
    facts.set(line, {lines: String(Number(count) + 1)});
  }
  return facts;
}

/** Both trees by a walk on descriptors (walk.py): everything, content and holes too, whatever the length of a path. */
export async function readByWalk(...roots: string[]): Promise<TreeFacts[]> {
  const output = await runTool('python3', ['-I', '-S', join(import.meta.dirname, 'walk.py'), ...roots], '/');
  return output
    .trimEnd()
    .split('\n')
    .map((line) => {
      const found = Object.entries(JSON.parse(line) as Record<string, Record<string, string | number>>);
      return withoutOwn(new Map(found.map(([path, facts]) => [path, withoutLeftOut(facts)])));
    });
}

function withoutLeftOut(facts: Record<string, string | number>): EntryFacts {
  const kept = Object.entries(facts).filter(([name]) => !LEFT_OUT_XATTR.test(name.replace(/^xattr /, '')));
  return Object.fromEntries(kept.map(([name, value]) => [name, String(value)]));
}

/** What rsync would still do, a line each. @param more further options */
export async function readByRsync(source: string, target: string, more: readonly string[]): Promise<string[]> {
  const options = [
    ...['-aHAXSn', '--numeric-ids', '--checksum', '-i', '--delete', '--modify-window=-1', '--exclude=/.towline'],
    ...[...LEFT_OUT, 'system.*'].map((filter) => `--filter=-x ${filter}`),
    ...more,
  ];
  const output = await runTool('rsync', [...options, `${source}/`, `${target}/`], '/');
  return output.split('\n').filter((line) => line !== '' && !line.startsWith('skipping non-regular file'));
}

/** The form of getfattr and getfacl: `# file: NAME`, lines about it, an empty line. */
function blocksOf(output: string, read: (line: string) => [string, string][]): TreeFacts {
  const facts: TreeFacts = new Map();
  for (const block of output.split('\n\n').filter(Boolean)) {
    const [head = '', ...lines] = block.split('\n');
    if (!head.startsWith('# file: ')) throw new Error(`not the head of a block: ${head}`);
    const entry = Object.fromEntries(lines.filter(Boolean).flatMap(read));
    if (Object.keys(entry).length > 0) facts.set(pathOf(unescaped(head.slice('# file: '.length))), entry);
  }
  return withoutOwn(facts);
}

function unescaped(text: string): string {
  return text.replaceAll(ESCAPED, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function pathOf(name: string): string {
  return name === '.' ? '' : name.replace(/^\.\//, '');
}
