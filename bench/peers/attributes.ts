/** What users miss in copies: entries that carry it, and whether it has arrived. */
import {linkSync, lstatSync, mkdirSync, openSync, closeSync, truncateSync, writeFileSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {must} from '../sync/filesystems.ts';

const FOLDER = 'attributes';
const OWNER = 12_345;
const HOLE_BYTES = 8 << 20;

const stat = (folder: string, name: string) => lstatSync(join(folder, name), {bigint: true});
const same = (source: string, copy: string, read: (folder: string) => unknown): boolean => read(source) === read(copy);

/** Name of the row → whether a copy of the folder has what the source has. */
const ARRIVED: Record<string, (source: string, copy: string) => boolean> = {
  owner: (source, copy) => same(source, copy, (folder) => `${stat(folder, 'owner').uid}:${stat(folder, 'owner').gid}`),
  'mode 4755': (source, copy) => same(source, copy, (folder) => stat(folder, 'mode').mode),
  xattr: (source, copy) => same(source, copy, (folder) => attribute(join(folder, 'xattr'))),
  ACL: (source, copy) => same(source, copy, (folder) => must('getfacl', '-cnpE', join(folder, 'acl'))),
  'hard link': (_, copy) => stat(copy, 'name-1').ino === stat(copy, 'name-2').ino,
  hole: (_, copy) => stat(copy, 'hole').blocks * 512n < HOLE_BYTES / 2,
  'mtime, ns': (source, copy) => same(source, copy, (folder) => stat(folder, 'mtime').mtimeNs),
};
export const ATTRIBUTES = Object.keys(ARRIVED);

/** Makes a folder of such entries in a volume. */
export function plantAttributes(root: string): void {
  const folder = join(root, FOLDER);
  mkdirSync(folder);
  const file = (name: string): string => {
    const path = join(folder, name);
    writeFileSync(path, `${name}\n`);
    return path;
  };
  must('chown', `${OWNER}:${OWNER}`, file('owner'));
  must('chmod', '4755', file('mode'));
  must('setfattr', '-n', 'user.x', '-v', '1', file('xattr'));
  must('setfacl', '-m', `u:${OWNER}:rw`, file('acl'));
  linkSync(file('name-1'), join(folder, 'name-2'));
  const hole = file('hole');
  truncateSync(hole, HOLE_BYTES);
  const fd = openSync(hole, 'a');
  writeSync(fd, 'the end');
  closeSync(fd);
  must('touch', '-d', '@1700000000.123456789', file('mtime'));
}

/** @param source, copy the roots of both @returns for each attribute whether it arrived */
export function arrived(source: string, copy: string): Record<string, boolean> {
  const [from, to] = [join(source, FOLDER), join(copy, FOLDER)];
  return Object.fromEntries(Object.entries(ARRIVED).map(([name, judge]) => [name, judge(from, to)]));
}

/** '' where there is none: getfattr then says nothing, and so does its exit code. */
function attribute(path: string): string {
  return must('getfattr', '-m', '^user\\.', '--only-values', '--absolute-names', '-d', path);
}
