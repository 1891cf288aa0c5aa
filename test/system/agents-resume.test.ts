/**
 * A large file whose transfer is killed, stopped or cut at random points: it goes on where it was. What goes over the
 * line is counted at the interface of the source’s host.
 *
 * Longer: TOWLINE_TEST_LARGE_MIB=1024, TOWLINE_TEST_KILLS=20, TOWLINE_TEST_SEED=… for other points.
 */
import {
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {largestIn, sentOver, sha256sum, stagingOf, writeLarge} from '../hosts/large-transfer.ts';
import {LOOSE, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {makeNetwork} from '../hosts/namespaces.ts';
import {Random} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';

const MIB = 1 << 20;
const SIZE_BYTES = Number(process.env['TOWLINE_TEST_LARGE_MIB'] ?? 96) * MIB;
const KILLS = Number(process.env['TOWLINE_TEST_KILLS'] ?? 1);
const SEED = Number(process.env['TOWLINE_TEST_SEED'] ?? 1);
const RATE = '32MiB'; // a second: slow enough to be interrupted at a chosen point
const SHARE_MAX = 0.05;
/** On its way: the window of credit, 8 MiB, with room for headers and for what is sent twice by the hosts themselves. */
const ON_ITS_WAY_BYTES = 16 * MIB;
const DONE_MS = 60_000 + SIZE_BYTES / 10_000;
const J8_SECONDS = 10;
const VOLUME = 'data';

type Interrupt = (agents: {source: TestAgent; target: TestAgent}) => Promise<void>;

const WAYS: {title: string; interrupt: Interrupt}[] = [
  {title: 'H2 the target is killed', interrupt: ({target}) => killAndStart(target)},
  {title: 'H3 the source is killed', interrupt: ({source}) => killAndStart(source)},
  {title: 'J8 the target is stopped', interrupt: ({target}) => stopAndStart(target)},
  {title: 'J8 the source is stopped', interrupt: ({source}) => stopAndStart(source)},
  {
    title: 'H11 the network is cut',
    interrupt: async ({source, target}) => {
      const before = connectionsOf(target);
      source.host.rejectPackets();
      await target.until('it is noticed', () => target.log().includes('was cut', before.at), DONE_MS);
      source.host.openFirewall();
      await target.until('connected again', () => connectionsOf(target).count > before.count, DONE_MS);
    },
  },
];

/** Connections that an agent has told of so far, and how long its log is. */
function connectionsOf(agent: TestAgent): {count: number; at: number} {
  const log = agent.log();
  return {count: log.split('"msg":"connected"').length, at: log.length};
}

async function killAndStart(agent: TestAgent): Promise<void> {
  await agent.kill9();
  await agent.start();
}

async function stopAndStart(agent: TestAgent): Promise<void> {
  const {exitCode, seconds} = await agent.stop('SIGTERM');
  expect(seconds).toBeLessThan(J8_SECONDS);
  expect(exitCode).toBe(0);
  await agent.start();
}

needsHosts(describe)('a large file between two agents', {timeout: 120_000 + KILLS * DONE_MS}, () => {
  let source: TestAgent;
  let target: TestAgent;
  const random = new Random(SEED);

  beforeAll(async () => {
    const base = makeTmpDir('file');
    const [here, there] = makeNetwork(2).hosts as [TestAgent['host'], TestAgent['host']];
    source = new TestAgent({name: 'source', folder: join(base, 'source'), host: here, listens: false});
    target = new TestAgent({name: 'target', folder: join(base, 'target'), host: there});
    const send = [{to: 'target', limit: {rate: RATE}}];
    source.configure({volumes: {[VOLUME]: {at: source.volume(VOLUME), send, ...LOOSE}}});
    target.configure({volumes: {[VOLUME]: {at: target.volume(VOLUME), receive: 'source', ...LOOSE}}});
    await pair(source, target);
    await startAll(source, target);
    await untilInSync(source, VOLUME);
  });
  afterAll(() => stopAll(source, target));

  const part = () => largestIn(stagingOf(target, VOLUME));

  /** Waits until so much of the file is there. */
  async function reach(bytes: number): Promise<void> {
    await target.until(`${bytes} bytes are staged`, () => (part()?.sizeBytes ?? 0) >= bytes, DONE_MS);
  }

  /** Sends a new file, and interrupts it. @returns bytes that went over the line beyond the file’s own, headers of all layers among them */
  async function sentAgain(name: string, interrupts: readonly Interrupt[]): Promise<number> {
    const path = join(source.volume(VOLUME), name);
    const before = sentOver(source.host);
    const sum = writeLarge(path, SIZE_BYTES);
    for (const [index, interrupt] of interrupts.entries()) {
      // Later each time, so that each has something to lose.
      const share = (index + 0.3 + random.below(60) / 100) / interrupts.length;
      await reach(Math.floor(share * 0.95 * SIZE_BYTES));
      await interrupt({source, target});
    }
    await untilInSync(source, VOLUME, DONE_MS);
    expect(sha256sum(join(target.volume(VOLUME), name))).toBe(sum);
    return sentOver(source.host) - before - SIZE_BYTES;
  }

  test.each(WAYS)(`$title ${KILLS} times: at most 5 % is sent again`, async ({title, interrupt}) => {
    const bytes = await sentAgain(title, Array<Interrupt>(KILLS).fill(interrupt));
    expect(part()).toBeUndefined();
    console.log(`${title}: ${(bytes / MIB / KILLS).toFixed(1)} MiB of ${SIZE_BYTES / MIB} were sent again each time`);
    expect(bytes / KILLS).toBeLessThan(Math.max(SHARE_MAX * SIZE_BYTES, ON_ITS_WAY_BYTES));
  });

  test('H2 a power cut takes half of what was staged back, in zeros and in length: right, and the rest is kept', async () => {
    const bytes = await sentAgain('cut short', [
      async () => {
        await target.kill9();
        const {path, sizeBytes} = part()!;
        truncateSync(path, Math.floor(sizeBytes * 0.75));
        const fd = openSync(path, 'r+');
        writeSync(fd, Buffer.alloc(Math.floor(sizeBytes / 4)), 0, undefined, Math.floor(sizeBytes / 8));
        closeSync(fd);
        await target.start();
      },
    ]);
    expect(bytes).toBeGreaterThan(0.1 * SIZE_BYTES);
    expect(bytes).toBeLessThan((0.5 + SHARE_MAX) * SIZE_BYTES + ON_ITS_WAY_BYTES);
  });

  test('H6 somebody puts a link to a file of theirs in its place: it is not followed, and all is sent again', async () => {
    const theirs = join(target.folder, 'theirs');
    writeFileSync(theirs, 'somebody’s');
    let heldBytes = 0;
    const bytes = await sentAgain('planted', [
      async () => {
        await target.kill9();
        const {path, sizeBytes} = part()!;
        heldBytes = sizeBytes;
        renameSync(path, join(target.folder, 'moved'));
        symlinkSync(theirs, path);
        await target.start();
      },
    ]);
    expect(readFileSync(theirs, 'utf8')).toBe('somebody’s');
    // As if nothing were kept at all: the count sees it.
    expect(bytes).toBeGreaterThan(0.9 * heldBytes);
  });
});
