/** A copy whose drift is only told: what a look finds is held, also from a batch that waited for the look's end. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import type {DestroyedAction} from '../../../src/apply/destroyed.ts';
import {encodeJournal} from '../../../src/apply/journal-record.ts';
import type {AgentParts, ScopedJobs} from '../../../src/daemon/agent-parts.ts';
import {offeredView} from '../../../src/daemon/own-limits.ts';
import {TargetProblems} from '../../../src/daemon/target-problems.ts';
import {TargetVolume} from '../../../src/daemon/target-volume.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import type {OpResult} from '../../../src/model/op.ts';
import {stageOfTransfer, type PartialFile} from '../../../src/model/partial-file.ts';
import {viewDigest} from '../../../src/model/view.ts';
import {RollingHour} from '../../../src/reconcile/rolling-hour.ts';
import type {LinkPort} from '../../../src/session/link-port.ts';
import {SessionLinks} from '../../../src/session/session-links.ts';
import {Session} from '../../../src/session/session.ts';
import {encode} from '../../../src/wire/codec.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {OPEN_LINK} from '../../sync/hostile-source.ts';
import {until} from '../../until.ts';
import {channelPair} from '../../unit/session/channel-pair.ts';
import {makeParts, type Made} from './agent-parts.ts';

const meta = {mode: 0o777, uid: process.getuid!(), gid: process.getgid!(), mtime: {s: 1, ns: 0}, attrs: NO_ATTRS};

interface Opened {
  target: TargetVolume;
  problems: TargetProblems;
  close(): Promise<void>;
}

/** An open copy that reports drift, and its running look. */
function openTarget({parts, root, config}: Made): Opened {
  const notes = parts.file.notes('receive/data');
  const problems = new TargetProblems({volume: 'data'}, {notes, clock: parts.clock});
  const target = new TargetVolume(
    {
      ...{config, notes, problems, found: {path: root, beside: undefined}, chokidarEntries: 0, reserve: 0},
      onNotice: () => undefined,
      onDrift: (paths) => problems.drifted(paths),
      reportsDrift: () => true,
    },
    parts,
  );
  const over = new AbortController();
  const ran = target.run(over.signal);
  const close = async (): Promise<void> => {
    if (over.signal.aborted) return;
    over.abort();
    await target.stop(undefined);
    await Promise.allSettled([ran]);
    target.close();
  };
  onTestFinished(close);
  return {target, problems, close};
}

/** The source's end of a link to it. @returns what the target has said so far */
async function linkTo({target}: Opened, isDurable = false): Promise<{port: LinkPort; heard: Message[]}> {
  const [left, right] = channelPair().map((channel) => new Session({name: 'end'}, {channel}));
  const open = (session: Session): SessionLinks =>
    new SessionLinks({
      session,
      onOpen: (_request, port) =>
        target.serve(port, {confirmedDeletes: 0, hour: new RollingHour(), onRefused: () => undefined}),
      onAgentMessage: () => undefined,
    });
  const port = open(left!).newSource(undefined);
  open(right!);
  onTestFinished(() => left!.close('the test is over'));
  await Promise.all([left!.ready(), right!.ready()]);
  const heard: Message[] = [];
  port.onMessage = (message) => void heard.push(message);
  const view = offeredView({ignore: [], special: 'keep', ids: []});
  port.send({...OPEN_LINK, volume: 'data', view, viewDigest: viewDigest(view), isDurable});
  await until(() => heard.some(({kind}) => kind === 'link-opened'));
  return {port, heard};
}

test('J10 drift: report: 1,200 changed paths are one more than are told, also after a start that followed a kill', async () => {
  const made = makeParts({drift: 'report'});
  const names = Array.from({length: 1_200}, (_, index) => join(made.root, `${index}`));
  for (const name of names) symlinkSync('as it was', name);
  const killed = openTarget(made);
  await linkTo(killed);
  killed.target.opened.volume.flush();
  killed.target.opened.volume.abandon();
  await killed.close();
  const again = openTarget(made);
  expect(again.target.opened.volume.openedUnclean).toBe(true);
  await linkTo(again);
  for (const name of names) {
    rmSync(name);
    symlinkSync('by somebody else', name);
  }
  await linkTo(again, true);
  expect(again.problems.count).toBe(1_001);
  const other = {kind: 'delete' as const, path: 'other', type: 'file' as const};
  expect(again.problems.heldBack(other, () => false)).toMatchObject({code: 'refused'});
});

/** Whether this process has any inotify watch. */
function isWatching(): boolean {
  return readdirSync('/proc/self/fdinfo').some((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').includes('inotify wd:');
    } catch {
      return false; // closed meanwhile
    }
  });
}

test('J10 drift: report: a path that is found changed while a batch waits for that look’s end is not replaced', async () => {
  const made = makeParts({drift: 'report'});
  const path = join(made.root, 'link');
  symlinkSync('as it was', path);
  const look = {seen: Promise.withResolvers<void>(), goOn: Promise.withResolvers<void>()};
  const jobsFor: AgentParts['jobsFor'] = (data) => {
    const jobs = made.parts.jobsFor(data);
    const run: ScopedJobs['run'] = async (kind, input, options) => {
      const out = await jobs.run(kind, input, options);
      if (kind !== 'scan-names') return out;
      look.seen.resolve();
      await look.goOn.promise;
      return out;
    };
    return {run, close: () => jobs.close()};
  };
  const target = openTarget({...made, parts: {...made.parts, jobsFor}});
  const {port, heard} = await linkTo(target);
  port.send({kind: 'link-state', link: port.link, state: 'in-sync', cut: 0, problemCount: 0, reason: ''});
  await until(isWatching);
  rmSync(path);
  symlinkSync('by somebody else', path);
  await look.seen.promise;
  const op = {kind: 'put-symlink' as const, path: 'link', meta, target: 'by the source'};
  await port.sendData(encode({kind: 'batch', link: port.link, batch: 1, seq: 1, ops: [op]}), true);
  // What follows is answered only once the batch was taken in.
  await port.ask(
    (request) => ({kind: 'list-groups', link: port.link, request, after: 0}),
    () => true,
  );
  look.goOn.resolve();
  const results = (): OpResult[] | undefined => heard.find((message) => message.kind === 'batch-result')?.results;
  await until(() => results() !== undefined);
  expect(readlinkSync(path)).toBe('by somebody else');
  expect(results()).toMatchObject([{status: 'failed', code: 'refused'}]);
});

test('a part of a large file that nobody went on with for 8 days goes, whether or not a link is opened', async () => {
  const made = makeParts();
  const atMs = made.parts.clock.nowMs();
  const part = (name: string, days: number): PartialFile => ({
    ...{stage: stageOfTransfer(atMs, days), path: name, sizeBytes: 9e6, ino: 1, btime: {s: 1, ns: 0}},
    atMs: atMs - days * 86_400_000,
  });
  const before = openTarget(made);
  for (const one of [part('old', 8), part('young', 6)]) before.target.opened.journal.partials.put(one);
  await before.close();
  const {partials} = openTarget(made).target.opened.journal;
  await until(() => partials.all().length < 2);
  expect(partials.all().map(({path}) => path)).toEqual(['young']);
});

test('the trash is pruned while a batch that a crash left is not completed; that batch’s own hour stays, and is told', async () => {
  const [old, own] = ['2020-01-01T04', '2020-01-01T05'];
  const place = `${own}/${'0'.repeat(24)}-d0`;
  const made = makeParts();
  const before = openTarget(made);
  const {places, opened} = before.target;
  for (const hour of [old, own]) mkdirSync(join(places.trash, hour), {recursive: true});
  const line = {at: `${own}:06:07.000Z`, place, path: 'gone', type: 'file', reason: 'deleted'};
  writeFileSync(join(places.trash, own, 'index.ndjson'), `${JSON.stringify(line)}\n`);
  writeFileSync(join(places.trash, place), 'deleted before the crash');
  const view = offeredView({ignore: [], special: 'keep', ids: []});
  const options = {isDurable: false, view, reserved: []};
  const record = {kind: 'delete', index: 0, path: 'gone', ino: 1, type: 'file'} as const;
  const atMs = Date.parse(line.at);
  opened.journal.append({id: 1, body: encodeJournal({version: 1, batch: 1, atMs, records: [record], options})});
  await before.close();
  const told: DestroyedAction[] = [];
  const [pruned, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const jobsFor: AgentParts['jobsFor'] = (data) => {
    const jobs = made.parts.jobsFor(data);
    const run: ScopedJobs['run'] = async (kind, input, given) => {
      if (kind === 'switch-batch') await goOn.promise;
      const out = await jobs.run(kind, input, given);
      if (kind === 'prune-trash') pruned.resolve();
      return out;
    };
    return {run, close: () => jobs.close()};
  };
  openTarget({...made, parts: {...made.parts, jobsFor, onActions: (actions) => void told.push(...actions)}});
  onTestFinished(() => goOn.resolve()); // before it is closed
  await pruned.promise;
  expect([old, place].map((each) => existsSync(join(places.trash, each)))).toEqual([false, true]);
  goOn.resolve();
  await until(() => told.length > 0);
  expect(told).toMatchObject([{path: 'gone', place, op: 'delete'}]);
});
