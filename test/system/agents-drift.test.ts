/** What something else changes on a copy: repaired and told, or, with `drift: report`, told and left alone. */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';

needsHosts(describe)('a copy that something else writes to', {timeout: 120_000}, () => {
  const {source, target} = makeAgents({source: {}, target: {}});

  beforeAll(async () => {
    await pair(source, target);
    configureTarget('repair');
    source.configure({volumes: {data: {at: source.volume('data'), send: ['target'], ...LOOSE}}});
    mkdirSync(inSource('dir'));
    for (const name of ['changed', 'deleted', 'dir/below', 'other'])
      writeFileSync(inSource(name), `the source's ${name}`);
    await startAll(source, target);
    await untilInSync(source, 'data');
  });
  afterAll(() => stopAll(source, target));

  function configureTarget(drift: 'repair' | 'report'): void {
    target.configure({volumes: {data: {at: target.volume('data'), receive: 'source', ...LOOSE, drift}}});
  }

  const inSource = (name: string): string => join(source.volume('data'), name);
  const inTarget = (name: string): string => join(target.volume('data'), name);
  const pending = async (agent: TestAgent): Promise<string> => (await agent.command(['pending', 'data'])).stdout;

  test('J10 changed, deleted and added on a copy: repaired, said in the log, and what was there is in the trash', async () => {
    writeFileSync(inTarget('changed'), 'by somebody else');
    rmSync(inTarget('deleted'));
    writeFileSync(inTarget('added'), 'by somebody else too');
    await target.until('all is put back', () => existsSync(inTarget('deleted')) && !existsSync(inTarget('added')));
    await untilInSync(source, 'data');
    expect(readFileSync(inTarget('changed'), 'utf8')).toBe("the source's changed");
    for (const name of ['changed', 'deleted', 'added'])
      expect(target.log()).toMatch(new RegExp(`"path":"${name}".*changed on the target by something else`));
    const listed = await target.must('trash', 'list', 'data');
    expect(listed).toMatch(/foreign {2}file changed/);
    expect(listed).toMatch(/deleted {2}file added/);
    const logged = await target.must('log', 'data', '--json');
    const record = logged
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .find(({path}) => path === 'changed');
    expect(record).toMatchObject({
      volume: 'data',
      peer: 'source',
      op: 'put-file',
      place: expect.stringMatching(/^\d{4}-/),
    });
    expect([typeof record!['batch'], typeof record!['time']]).toEqual(['number', 'string']);
  });

  test('J10 the same path again within the minute waits for it', async () => {
    const startMs = performance.now();
    writeFileSync(inTarget('other'), 'once');
    await target.until('it is put back', () => readFileSync(inTarget('other'), 'utf8') === "the source's other");
    await untilInSync(source, 'data'); // what is written before that is noted may be put back at once
    writeFileSync(inTarget('other'), 'twice');
    await target.until('it is noticed', () => (target.log().match(/"path":"other"/g) ?? []).length >= 2);
    expect(readFileSync(inTarget('other'), 'utf8')).toBe('twice');
    expect((performance.now() - startMs) / 1_000).toBeLessThan(50);
    writeFileSync(inTarget('other'), "the source's other");
    utimesSync(inTarget('other'), statSync(inSource('other')).mtime, statSync(inSource('other')).mtime);
    await source.command(['rescan', 'data']);
    await untilInSync(source, 'data');
  });

  test('J10 drift: report: told on both sides, and neither repaired nor overwritten by what the source does then', async () => {
    configureTarget('report');
    await target.reload();
    await untilInSync(source, 'data');
    writeFileSync(inTarget('changed'), 'mine');
    rmSync(inTarget('deleted'));
    writeFileSync(inTarget('added'), 'mine too');
    writeFileSync(inTarget('dir/below'), 'mine as well');
    await target.until('all is listed', async () => {
      const told = await pending(target);
      return ['changed', 'deleted', 'added', 'dir/below'].every((name) =>
        told.includes(`${name}: changed on this copy`),
      );
    });
    await source.until('the source tells it', async () => (await source.link('data', 'target')).state === 'problems');
    expect(await pending(source)).toContain('towline rescan data');
    // The source goes on: what did not drift arrives, what did stays.
    writeFileSync(inSource('changed'), 'newer on the source');
    writeFileSync(inSource('dir/below'), Buffer.alloc(300_000, 'x'));
    rmSync(inSource('dir'), {recursive: true});
    writeFileSync(inSource('fresh'), 'arrives');
    await source.until('the rest arrives', () => existsSync(inTarget('fresh')));
    expect(readFileSync(inTarget('changed'), 'utf8')).toBe('mine');
    expect(readFileSync(inTarget('dir/below'), 'utf8')).toBe('mine as well');
    expect([existsSync(inTarget('deleted')), existsSync(inTarget('added'))]).toEqual([false, true]);
    await target.until('it says so', async () => (await target.link('data', 'source')).state === 'problems');
  });

  test('J10 drift: report: over a restart, and when it happens while the agent is away', async () => {
    await target.stop();
    writeFileSync(inTarget('other'), 'while it was away');
    await target.start();
    await target.until('it is listed too', async () => (await pending(target)).includes('other: changed on this copy'));
    expect(await pending(target)).toContain('added: changed on this copy');
    await source.until('it is compared', async () => (await source.link('data', 'target')).state === 'problems');
    expect(readFileSync(inTarget('other'), 'utf8')).toBe('while it was away');
    expect(readFileSync(inTarget('changed'), 'utf8')).toBe('mine');
  });

  test('J10 drift: report: rescan on the copy takes the source’s version, and what was there is in the trash', async () => {
    await target.must('rescan', 'data');
    await untilInSync(source, 'data');
    expect(readFileSync(inTarget('changed'), 'utf8')).toBe('newer on the source');
    expect(existsSync(inTarget('added'))).toBe(false);
    expect(await pending(target)).toContain('nothing is pending');
    expect(await target.must('trash', 'list', 'data')).toMatch(/foreign {2}file changed/);
  });

  test('J10 drift: report: changed back by hand, it is a problem no more', async () => {
    writeFileSync(inTarget('changed'), 'mine again');
    await target.until('it is listed', async () => (await pending(target)).includes('changed: changed on this copy'));
    spawnSync('cp', ['-p', inSource('changed'), inTarget('changed')]);
    await source.must('rescan', 'data');
    await untilInSync(source, 'data');
    expect(await pending(target)).toContain('nothing is pending');
  });
});
