/** The trash while much goes there, and on a disk that is full: bounded, in order of age, told; a reserve stays free. */
import {randomBytes} from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {VolumeSettings} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {type LoopFilesystem, makeLoopFilesystem} from '../loop-fs.ts';

const MIB = 1 << 20;
const ROUNDS = Number(process.env['TOWLINE_TEST_REPLACED'] ?? 10);
const FILE_BYTES = 4 * MIB;
const TRASH_BYTES = 12 * MIB;
const LOOK_MS = 2_000; // between two looks of a trash that is filled, at least

needsHosts(describe)('a copy on a small disk of its own', {timeout: 120_000}, () => {
  const {source, target} = makeAgents({source: {}, target: {}});
  let disk: LoopFilesystem;

  beforeAll(async () => {
    await pair(source, target);
    disk = makeLoopFilesystem('ext4', 100);
    configureTarget({trash: {keep: '7d', size: '12MiB'}});
    source.configure({volumes: {data: {at: source.volume('data'), send: ['target'], ...LOOSE}}});
    writeFileSync(inSource('stays'), 'so that the volume is never empty');
    await startAll(source, target);
    await untilInSync(source, 'data');
  });
  afterAll(() => stopAll(source, target));

  function configureTarget(more: Partial<VolumeSettings>, reserve = '20%'): void {
    const volume = {at: disk.path, receive: 'source', ...LOOSE, ...more};
    target.configure({volumes: {data: volume}, limits: {reserve}});
  }

  const inSource = (name: string): string => join(source.volume('data'), name);
  const inTarget = (name: string): string => join(disk.path, name);
  const trash = (): string => join(disk.path, '.towline/trash');
  const trashBytes = (): number => sizeOf(trash());
  const freeShare = (): number => {
    const {bavail, blocks} = statfsSync(disk.path);
    return bavail / blocks;
  };
  const arrived = async (name: string): Promise<void> => {
    const wanted = readFileSync(inSource(name));
    await source.until(
      `${name} arrives`,
      () => existsSync(inTarget(name)) && readFileSync(inTarget(name)).equals(wanted),
    );
  };

  test(`H16 a file of 4 MiB deleted and made anew ${ROUNDS} times: the trash stays bounded, each version arrives`, async () => {
    let largest = 0;
    await target.must('trash', 'empty', 'data', '--yes');
    for (let round = 0; round < ROUNDS; round++) {
      await setTimeout(LOOK_MS / 4); // ten rounds last longer than the keeper is away
      rmSync(inSource('hot'), {force: true});
      await source.until('the delete has arrived', () => !existsSync(inTarget('hot')));
      writeFileSync(inSource('hot'), randomBytes(FILE_BYTES));
      await arrived('hot');
      largest = Math.max(largest, trashBytes());
    }
    expect(largest).toBeGreaterThan(TRASH_BYTES / 2); // it was used
    await target.until('the trash is as large as it may be', () => trashBytes() <= TRASH_BYTES, 40_000);
    // What goes there within the seconds between two looks is all that may be there beside it.
    expect(largest).toBeLessThan(ROUNDS * FILE_BYTES);
    const listed = (await target.must('trash', 'list', 'data')).trim().split('\n');
    expect(listed.length).toBeGreaterThanOrEqual(1);
    expect(listed.length).toBeLessThanOrEqual(TRASH_BYTES / FILE_BYTES);
    const newest = statSync(join(trash(), listed.at(-1)!.split('  ')[1]!));
    expect(newest.size).toBe(FILE_BYTES);
  });

  test('H16 a file of 4 MiB replaced again and again: one version of the hour is kept', async () => {
    for (let round = 0; round < 6; round++) {
      writeFileSync(inSource('page'), randomBytes(FILE_BYTES));
      await arrived('page');
    }
    const listed = (await target.must('trash', 'list', 'data', 'page')).trim().split('\n');
    expect(listed).toHaveLength(1);
    expect(listed[0]).toContain('overwritten');
  });

  test('H7 H15 the reserve is never used: of the trash only what is needed goes, the oldest first, and it is told', async () => {
    configureTarget({trash: {keep: '7d', size: '1GiB'}});
    await target.reload();
    await untilInSync(source, 'data');
    for (const name of ['hot', 'page']) rmSync(inSource(name));
    await untilInSync(source, 'data');
    await target.must('trash', 'empty', 'data', '--yes');
    mkdirSync(inSource('old'));
    for (let index = 0; index < 8; index++) writeFileSync(inSource(`old/${index}`), randomBytes(5 * MIB));
    await untilInSync(source, 'data');
    for (let index = 0; index < 8; index++) {
      rmSync(inSource(`old/${index}`));
      await source.until('it goes to the trash', () => !existsSync(inTarget(`old/${index}`)));
    }
    // 40 MiB lie in the trash. Beside them and the reserve there is no room for 50 more.
    let least = 1;
    const watching = setInterval(() => (least = Math.min(least, freeShare())), 5);
    for (let index = 0; index < 10; index++) writeFileSync(inSource(`new-${index}`), randomBytes(5 * MIB));
    await untilInSync(source, 'data').finally(() => clearInterval(watching));
    expect(least).toBeGreaterThan(0.19); // what the copy's own folders take is not data
    const left = (await target.must('trash', 'list', 'data')).trim().split('\n');
    expect(left.length).toBeGreaterThan(0);
    expect(left.length).toBeLessThan(8);
    expect(left.at(-1)).toContain('old/7'); // the newest
    expect(left.join('\n')).not.toContain('old/0');
    const {notices} = await target.volumeReport('data');
    expect(notices.join('\n')).toMatch(
      /the disk was full: [1-7] item\(s\), \d+\.?\d* MiB left the trash before their time/,
    );
    expect(target.log()).toContain('left the trash before their time');
    expect(await target.must('status', 'data').catch(String)).toContain('left the trash before their time');
  });

  test('H7 what does not fit beside the reserve is listed, and arrives once there is room; nothing leaves the trash in vain', async () => {
    const before = (await target.must('trash', 'list', 'data')).trim();
    const whole = join(source.folder, 'huge'); // half of it might find room
    writeFileSync(whole, randomBytes(50 * MIB));
    renameSync(whole, inSource('huge'));
    for (let index = 0; index < 20; index++) writeFileSync(inSource(`small-${index}`), randomBytes(100));
    await source.until('it is listed', async () =>
      (await source.command(['pending', 'data'])).stdout.includes('held in reserve'),
    );
    await arrived('small-19');
    expect((await target.must('trash', 'list', 'data')).trim()).toBe(before);
    expect(existsSync(inTarget('huge'))).toBe(false);
    for (let index = 0; index < 10; index++) rmSync(inSource(`new-${index}`));
    await untilInSync(source, 'data', 60_000);
    expect(readFileSync(inTarget('huge')).equals(readFileSync(inSource('huge')))).toBe(true);
    expect(freeShare()).toBeGreaterThan(0.19);
  });
});

/** Bytes of the files below a folder, also while they go. */
function sizeOf(folder: string): number {
  return unlessGone(() => readdirSync(folder, {withFileTypes: true}), []).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    return sum + (entry.isDirectory() ? sizeOf(path) : unlessGone(() => statSync(path).size, 0));
  }, 0);
}

function unlessGone<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return otherwise;
    throw error;
  }
}
