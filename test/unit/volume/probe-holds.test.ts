import {spawnSync} from 'node:child_process';
import {chmodSync, chownSync, mkdirSync, readdirSync} from 'node:fs';
import {join, dirname} from 'node:path';
import {expect, test} from 'vitest';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {fromText} from '../../../src/model/path.ts';
import {probeHolds, type HeldHere} from '../../../src/volume/probe-holds.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts, needsRoot} from '../../needs.ts';
import {PROJECT} from '../../source-rules.ts';
import {makeTmpDir} from '../../tmp.ts';

/** What is found below a folder, and what is left there after it. */
function probe(folder: string): {held: HeldHere; left: string[]} {
  const staging = join(folder, 'staging');
  mkdirSync(staging);
  const fd = openDirPath(fromText(folder));
  try {
    const held = probeHolds(fd, folder, {staging, trash: staging, isInRoot: false});
    return {held, left: readdirSync(staging)};
  } finally {
    closeFd(fd);
  }
}

const ALL = {
  timePrecisionNs: 1,
  xattrs: ['user', 'trusted', 'acl', 'capability'],
  special: true,
  devices: true,
  owners: true,
  modes: true,
  foldsCase: false,
};

const diskTest = needsLoopMounts(needsCommands('mkfs.xfs', 'mkfs.btrfs')(test));

diskTest.each([
  ['ext4', 16, [], {}],
  ['ext4', 16, ['-I', '128'], {timePrecisionNs: 1_000_000_000}],
  ['xfs', 300, [], {}],
  ['btrfs', 114, [], {}],
  ['ramfs', 1, [], {xattrs: []}],
] as const)('%s of %i MiB %j holds what it is known for, and nothing is left', (kind, sizeMiB, mkfs, other) => {
  const disk = makeLoopFilesystem(kind, sizeMiB, '', mkfs);
  const found = probe(disk.path);
  expect(found).toEqual({held: {...ALL, ...other}, left: []});
  disk.destroy();
});

diskTest('a full disk says nothing: what this process may set is assumed', () => {
  const disk = makeLoopFilesystem('ext4', 2);
  mkdirSync(join(disk.path, 'volume'));
  spawnSync('sh', ['-c', `cd ${disk.path} && i=0; while touch f$i 2>/dev/null; do i=$((i+1)); done; rm f0`]);
  const found = probe(join(disk.path, 'volume'));
  expect(found).toEqual({held: ALL, left: []});
});

needsRoot(needsCommands('setpriv')(test))(
  'who is not root cannot set owners, devices, trusted attributes and capabilities',
  () => {
    const folder = join(makeTmpDir(), 'volume');
    mkdirSync(join(folder, 'staging'), {recursive: true});
    chmodSync(dirname(folder), 0o711);
    for (const path of [folder, join(folder, 'staging')]) chownSync(path, 1000, 1000);
    const script = `
    import {probeHolds} from '${PROJECT}/src/volume/probe-holds.ts';
    import {openDirPath} from '${PROJECT}/src/linux/open-fd.ts';
    const places = {staging: '${folder}/staging', trash: '', isInRoot: false};
    console.log(JSON.stringify(probeHolds(openDirPath('${folder}'), '${folder}', places)));`;
    const node = join(PROJECT, 'node_modules/.bin/node');
    const args = ['--reuid=1000', '--regid=1000', '--clear-groups', node, '--input-type=module', '-e', script];
    const {stdout, stderr} = spawnSync('setpriv', args, {encoding: 'utf8'});
    expect(stderr).not.toContain('Error');
    expect(JSON.parse(stdout)).toEqual({...ALL, xattrs: ['user', 'acl'], owners: false, devices: false});
  },
);
