/**
 * What a link says of parts of large files, to an agent that knows of them and to one that does not.
 */
import {expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {ROOT} from '../../../src/model/path.ts';
import {PLAIN_VIEW, viewDigest} from '../../../src/model/view.ts';
import {NO_DELETE_LIMITS} from '../../../src/reconcile/delete-guard.ts';
import {Session, type FrameChannel} from '../../../src/session/session.ts';
import {TargetLink} from '../../../src/session/target-link.ts';
import type {PartialFiles} from '../../../src/session/target-tree.ts';
import {decode, encode} from '../../../src/wire/codec.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {entry, openStore} from '../state/state-fixture.ts';
import {channelPair} from './channel-pair.ts';
import {LinkPair} from './link-pair.ts';
import {runHere} from './run-here.ts';

/** A target that has parts of these files, and a source that says what the test says. */
async function opened(
  features: string[],
  paths: string[],
): Promise<{strange: FrameChannel; channel: FrameChannel; heard: Message[]}> {
  const [strange, channel] = channelPair();
  const heard: Message[] = [];
  strange.onFrame = (frame) => void heard.push(decode(frame));
  const session = new Session({name: 'target'}, {channel});
  onTestFinished(() => session.close('the test is over'));
  const link = new TargetLink(
    {
      volume: 'v',
      holding: {limits: PLAIN_VIEW, causes: {}, owner: {uid: 0, gid: 0}},
      deleteLimits: NO_DELETE_LIMITS,
    },
    {
      session,
      jobs: runHere<never>({} as never),
      tree: openStore(),
      clock: systemClock,
      partials: {paths: () => paths, settled: () => Promise.resolve()} as PartialFiles,
      open: async () => ({apply: async () => [], giveBack: async () => false}),
      onProblem: () => undefined,
    },
  );
  onTestFinished(() => link.close());
  const hello = {versionMin: 1, versionMax: 1, features, name: 'source', instance: Buffer.alloc(16)};
  strange.send(encode({kind: 'hello', ...hello}));
  strange.send(
    encode({
      kind: 'open-link',
      link: 1,
      volume: 'v',
      mode: 'mirror',
      epoch: 1,
      ackedSeq: 0,
      view: PLAIN_VIEW,
      viewDigest: viewDigest(PLAIN_VIEW),
      isDryRun: false,
      isDurable: true,
      confirmedDeletes: 0,
    }),
  );
  await expect.poll(() => heard.map(({kind}) => kind)).toContain('link-opened');
  return {strange, channel, heard};
}

test('of more parts than the source keeps in mind it forgets the oldest, and asks for the newest', async () => {
  const version = {sizeBytes: 1 << 20, mode: 0o644, uid: 0, gid: 0, mtime: {s: 1, ns: 0}, isExpected: true};
  const opened = {status: 0, errno: 0, allocatedBytes: 1 << 20, as: 'at-rest', version};
  const endless = new Promise<never>(() => undefined);
  const pair = new LinkPair({
    sourceJobs: {run: async (kind) => (kind === 'open-transfer' ? (opened as never) : endless)},
  });
  await pair.open();
  const paths = Array.from({length: 1_088}, (_, index) => `f${index}`);
  for (let at = 0; at < paths.length; at += 64)
    pair.targetSession.send({kind: 'partial-files', link: 1, paths: paths.slice(at, at + 64)});
  const heard: Message[] = [];
  pair.targetSession.onMessage = (message) => void heard.push(message);
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  const rootId = pair.source.dirIdOf(ROOT) as number;
  for (const [index, name] of ['f0', 'f1087'].entries()) {
    pair.source.put(rootId, entry(name, {sizeBytes: (1 << 20) + index, content: undefined, ino: 500 + index}));
    await pair.link.sender.add({kind: 'file', path: name, have: undefined, destroys: 0});
  }
  await expect.poll(() => heard.map(({kind}) => kind)).toContain('ask-leaves');
  expect(heard.map(({kind}) => kind).toSorted()).toEqual(['ask-leaves', 'file-start', 'file-start']);
  const asked = heard.find((message) => message.kind === 'ask-leaves');
  const of = heard.find((message) => message.kind === 'file-start' && message.transfer === asked?.transfer);
  expect(of).toMatchObject({path: 'f1087'});
});

const ask = (request: number): Buffer =>
  encode({kind: 'ask-leaves', link: 1, request, transfer: 9, leafIndexFirst: 0, leafCount: 128});

test('the paths of parts come before the link is open', async () => {
  const {heard} = await opened(['resume'], ['a', 'b/c']);
  expect(heard.map(({kind}) => kind)).toEqual(['hello', 'partial-files', 'link-opened']);
  expect(heard[1]).toMatchObject({paths: ['a', 'b/c']});
});

test('no more than 64 of them, and not more than fit', async () => {
  const many = await opened(
    ['resume'],
    Array.from({length: 80}, (_, index) => `f${index}`),
  );
  expect(many.heard[1]).toMatchObject({paths: Array.from({length: 64}, (_, index) => `f${index + 16}`)});
  const long = Array.from({length: 9}, (_, index) => `${`${'d'.repeat(250)}/`.repeat(200)}${index}`);
  const few = await opened(['resume'], long);
  expect((few.heard[1] as Extract<Message, {kind: 'partial-files'}>).paths).toHaveLength(5);
});

test.each([{features: []}, {features: ['zstd']}])(
  'an agent with the features $features hears nothing of them',
  async (known) => {
    const {heard} = await opened(known.features, ['a']);
    expect(heard.map(({kind}) => kind)).toEqual(['hello', 'link-opened']);
  },
);

test('of a transfer that is not open nothing is held; 65 whose answers nobody takes are a breach', async () => {
  const {strange, channel, heard} = await opened(['resume'], []);
  strange.send(ask(1));
  await expect.poll(() => heard.at(-1)).toEqual({kind: 'leaves-held', link: 1, request: 1, digests: []});
  channel.drained = () => new Promise(() => undefined);
  const frames = Array.from({length: 65}, (_, index) => ask(index + 2));
  for (const frame of frames) strange.send(frame);
  await expect.poll(() => heard.at(-1)).toMatchObject({kind: 'fault', code: 'PROTOCOL'});
});
