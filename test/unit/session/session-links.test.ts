import {setTimeout} from 'node:timers/promises';
import {describe, expect, onTestFinished, test} from 'vitest';
import {Ending} from '../../../src/base/ending.ts';
import {TowlineError} from '../../../src/base/errors.ts';
import type {LinkPort} from '../../../src/session/link-port.ts';
import {SessionLinks} from '../../../src/session/session-links.ts';
import {Session} from '../../../src/session/session.ts';
import {encode} from '../../../src/wire/codec.ts';
import {CREDIT_BYTES_INITIAL} from '../../../src/wire/credits.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {OPEN_LINK} from '../../sync/hostile-source.ts';
import {channelPair} from './channel-pair.ts';

interface End {
  session: Session;
  links: SessionLinks;
  opened: LinkPort[];
}

function ends(): [End, End] {
  const made = channelPair().map((channel): End => {
    const session = new Session({name: 'end', isShared: true}, {channel});
    const opened: LinkPort[] = [];
    const links = new SessionLinks({
      session,
      onOpen: (_request, port) => void opened.push(port),
      onAgentMessage: () => undefined,
    });
    onTestFinished(() => session.close('the test is over'));
    return {session, links, opened};
  });
  return made as [End, End];
}

const request = (link: number): Message => ({...OPEN_LINK, link, volume: 'v'});

/** A frame that costs about 1 MiB of credit. */
function leaves(link: number, transfer: number): Buffer {
  const leaf = {digest: Buffer.alloc(32), ops: [{kind: 'literal' as const, bytes: Buffer.alloc(256 * 1024)}]};
  return encode({kind: 'file-leaves', link, transfer, leafIndexFirst: 0, leaves: [leaf, leaf, leaf, leaf]});
}

describe('links of one session', () => {
  test('both ends open links of the same number; each gets its own messages, also what came before it listened', async () => {
    const [left, right] = ends();
    const [mine, theirs] = [left.links.newSource(undefined), right.links.newSource(undefined)];
    expect([mine.link, theirs.link]).toEqual([1, 1]);
    mine.send(request(1));
    theirs.send(request(1));
    mine.send({kind: 'file-abort', link: 1, transfer: 7});
    await expect.poll(() => [left.opened.length, right.opened.length]).toEqual([1, 1]);
    const heard: string[] = [];
    right.opened[0]!.onMessage = (message) => void heard.push(message.kind);
    await expect.poll(() => heard).toEqual(['open-link', 'file-abort']);
    const answers: string[] = [];
    mine.onMessage = (message) => void answers.push(message.kind);
    right.opened[0]!.send({kind: 'target-changed', link: 1});
    await expect.poll(() => answers).toEqual(['target-changed']);
  });

  test('a link that is closed gets nothing more, its waiters get the reason, and the others go on', async () => {
    const [left, right] = ends();
    const [first, second] = [left.links.newSource(undefined), left.links.newSource(undefined)];
    first.send(request(1));
    second.send(request(2));
    await expect.poll(() => right.opened.length).toBe(2);
    const asked = first.ask(
      (number) => ({kind: 'list-groups', link: 1, request: number, after: 0}),
      () => true,
    );
    left.links.closeSource(first, 'paused');
    await expect(asked).rejects.toMatchObject({code: 'CANCELLED'});
    expect(await right.opened[0]!.closed).toMatchObject({code: 'PEER_LOST'});
    left.session.send({kind: 'file-abort', link: 1, transfer: 1}); // on its way while it was closed: dropped
    const heard: string[] = [];
    right.opened[1]!.onMessage = (message) => void heard.push(message.kind);
    second.send({kind: 'file-abort', link: 2, transfer: 1});
    await expect.poll(() => heard).toEqual(['open-link', 'file-abort']);
    expect(right.session.isOpen).toBe(true);
  });

  test('a question that its asker gives up is over, and the link goes on', async () => {
    const [left] = ends();
    const first = left.links.newSource(undefined);
    const ending = new Ending();
    const asked = first.ask(
      (number) => ({kind: 'list-groups', link: 1, request: number, after: 0}),
      () => true,
      ending,
    );
    ending.end(new TowlineError('CANCELLED', 'refused', {signal: 'refused'}));
    await expect(asked).rejects.toMatchObject({code: 'CANCELLED', message: 'refused'});
    expect(first.isOpen).toBe(true);
  });

  test.each([
    ['a message of a link that was never opened', {kind: 'file-abort', link: 9, transfer: 1}],
    ['an answer for a link that was never opened', {kind: 'target-changed', link: 9}],
  ] as const)('%s is a breach', async (_, message) => {
    const [left, right] = ends();
    await Promise.all([left.session.ready(), right.session.ready()]);
    left.session.send(message);
    expect(await right.session.closed).toMatchObject({code: 'PROTOCOL'});
  });

  test('a number that was used before is a breach', async () => {
    const [left, right] = ends();
    await Promise.all([left.session.ready(), right.session.ready()]);
    left.session.send(request(3));
    left.session.send(request(3));
    expect(await right.session.closed).toMatchObject({code: 'PROTOCOL'});
  });

  test('a link whose frames nobody works off leaves room for the others', async () => {
    const [left, right] = ends();
    const [stuck, lively] = [left.links.newSource(undefined), left.links.newSource(undefined)];
    stuck.send(request(1));
    lively.send(request(2));
    await expect.poll(() => right.opened.length).toBe(2);
    right.opened[0]!.onMessage = (message) =>
      message.kind === 'file-leaves' ? new Promise<void>(() => undefined) : undefined;
    let arrived = 0;
    right.opened[1]!.onMessage = (message) => void (message.kind === 'file-leaves' && arrived++);
    for (let transfer = 0; transfer < 20; transfer++) stuck.sendData(leaves(1, transfer), false).catch(() => undefined);
    for (let transfer = 0; transfer < 20; transfer++) await lively.sendData(leaves(2, transfer), false);
    await expect.poll(() => arrived).toBe(20);
  });

  test('J8 a link that ends with the session gives no credit for what still comes: its source stops at once', async () => {
    const frameCount = 40; // several windows
    const arrivedOf = async (end: (port: LinkPort, reason: TowlineError) => void): Promise<number> => {
      const [left, right] = ends();
      const link = left.links.newSource(undefined);
      link.send(request(1));
      await expect.poll(() => right.opened.length).toBe(1);
      right.opened[0]!.onMessage = () => undefined;
      end(right.opened[0]!, new TowlineError('CANCELLED', 'the agent stops', {signal: 'stop'}));
      let sent = 0;
      const sending = Array.from({length: frameCount}, async (_, transfer) => {
        await link.sendData(leaves(1, transfer), false);
        sent++;
      });
      await Promise.race([Promise.all(sending), setTimeout(500)]);
      right.session.close('the agent stops');
      const ended = await Promise.allSettled(sending);
      expect(ended.filter(({status}) => status === 'fulfilled')).toHaveLength(sent);
      return sent;
    };
    const windowFrames = CREDIT_BYTES_INITIAL / 2 ** 20;
    expect(await arrivedOf((port, reason) => port.closeWithSession(reason))).toBeLessThanOrEqual(windowFrames);
    expect(await arrivedOf((port, reason) => port.close(reason))).toBe(frameCount);
  });

  test('a link that is closed while its frames wait gives its turns back', async () => {
    const [left, right] = ends();
    const [gone, other] = [left.links.newSource(undefined), left.links.newSource(undefined)];
    gone.send(request(1));
    other.send(request(2));
    await expect.poll(() => right.opened.length).toBe(2);
    let arrived = 0;
    for (const port of right.opened)
      port.onMessage = (message) => void (message.kind === 'file-leaves' && port.link === 2 && arrived++);
    const waiting = Array.from({length: 20}, (_, transfer) => gone.sendData(leaves(1, transfer), false));
    for (const each of waiting) each.catch(() => undefined);
    left.links.closeSource(gone, 'removed');
    await expect(waiting.at(-1)).rejects.toBeInstanceOf(TowlineError);
    for (let transfer = 0; transfer < 20; transfer++) await other.sendData(leaves(2, transfer), false);
    await expect.poll(() => arrived).toBe(20);
  });
});
