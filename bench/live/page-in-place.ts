/**
 * A page written into a large file that the target changes in place: when it is seen, and what both agents read and write
 * for it.
 *
 * Work is all that an agent reads and writes by system calls, from the change until it is seen and both are quiet again;
 * that a file is read once more a minute after its change is not part of it. Each size has filesystems of its own.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {makeHosts, untilEqual} from '../agents/hosts.ts';
import {median} from '../numbers.ts';
import {must} from '../sync/filesystems.ts';
import {type Case, type Context, type Rows, rowsOf} from './case.ts';
import {change, contentOf} from './changes.ts';
import {untilQuiet, type Work, workOf, workSince} from './counters.ts';
import {writePattern} from './large-files.ts';

const VOLUME = 'tree';
const PAGE_BYTES = 8_192;
const CHANGED_MIB_MAX = 8_192; // so much is changed a page at a time: many times a small file, a large one once
const CHANGES_MAX = 3;
const COMPARED_MIB_MAX = 4_096; // of larger ones the digests must do, which both agents make from what is on their disks
const WORK_RATIO_MAX = 2; // the sizes differ by more: what grew with them would show

export const pageInPlace: Case = async (context) => {
  const rows = rowsOf('page-in-place', context);
  const [sizesMiB, above] = context.isQuick ? [[64, 256], '32MiB'] : [[1_024, 4_096, 16_384], '512MiB'];
  const targetWork: number[] = [];
  for (const sizeMiB of sizesMiB) targetWork.push(await measure(sizeMiB, above, rows, context));
  const sizes = `${sizesMiB.at(-1)} MiB to ${sizesMiB[0]} MiB`;
  rows.atMost(`the target's work, ${sizes}`, targetWork.at(-1)! / targetWork[0]!, 'times', WORK_RATIO_MAX);
  return rows.all;
};

/** @returns what the target read and wrote, in bytes */
async function measure(sizeMiB: number, above: string, rows: Rows, {base, say, isQuick}: Context): Promise<number> {
  // Both filesystems, and Towline on the target, keep a twentieth free.
  const room = {sizeMiB: Math.ceil(sizeMiB * 1.15) + 1_024};
  const hosts = await makeHosts({base: join(base, String(sizeMiB)), room});
  const [source, [target]] = [hosts.source, hosts.targets];
  const [from, to] = [join(source.path, VOLUME), join(target.path, VOLUME)];
  mkdirSync(from);
  mkdirSync(to);
  writePattern(join(from, 'file'), sizeMiB * 2 ** 20);
  must('sync');
  await hosts.addVolume(VOLUME, {settle: '0ms'}, {replace: {'in-place-above': above}});
  say(`${sizeMiB} MiB: the first copy is there`);
  const measured: {ms: number; source: Work; target: Work}[] = [];
  const changes = isQuick ? 1 : Math.min(CHANGES_MAX, Math.ceil(CHANGED_MIB_MAX / sizeMiB));
  for (let index = 0; index < changes; index++) {
    await untilQuiet(source.agent, target.agent);
    const before = [workOf(source.agent), workOf(target.agent)] as const;
    const offset = Math.floor((sizeMiB * 2 ** 20 * (2 * index + 1)) / (2 * changes) / PAGE_BYTES) * PAGE_BYTES;
    const ms = await change(join(from, 'file'), join(to, 'file'), contentOf(index, PAGE_BYTES), offset);
    await untilQuiet(source.agent, target.agent);
    measured.push({ms, source: workSince(source.agent, before[0]), target: workSince(target.agent, before[1])});
  }
  await untilEqual(source.agent, VOLUME);
  if (sizeMiB <= COMPARED_MIB_MAX) must('cmp', join(from, 'file'), join(to, 'file'));
  const middle = (of: (each: (typeof measured)[number]) => number): number => median(measured.map(of));
  const work = middle((each) => each.target.readBytes + each.target.writtenBytes);
  rows.tell(
    `${sizeMiB} MiB: until visible`,
    middle(({ms}) => ms),
    'ms',
  );
  rows.tell(`${sizeMiB} MiB: the target read`, middle((each) => each.target.readBytes) / 1e6, 'MB');
  rows.tell(`${sizeMiB} MiB: the target wrote`, middle((each) => each.target.writtenBytes) / 1e6, 'MB');
  rows.tell(`${sizeMiB} MiB: the target's disk took`, middle((each) => each.target.diskWrittenBytes) / 1e6, 'MB');
  rows.tell(`${sizeMiB} MiB: the source read`, middle((each) => each.source.readBytes) / 1e6, 'MB');
  rows.tell(`${sizeMiB} MiB: of it from the disk`, middle((each) => each.source.diskReadBytes) / 1e6, 'MB');
  await hosts.end();
  return work;
}
