/** What an agent reports, as lines: the table, what gives way on a narrow terminal, reasons, next steps, exit codes. */
import {describe, expect, test} from 'vitest';
import {exitCodeOfReport, linkLine, peerLine, statusLines} from '../../../src/cli/status-lines.ts';
import {localMoment, localTime, widthOf, wrapText} from '../../../src/cli/text.ts';
import type {AgentReport} from '../../../src/control/agent-api.ts';
import {haltOf, linkOf, NOW_MS, reportOf, volumeOf} from '../../scripted-agent.ts';

const PEER = reportOf().peers[0]!;
const REFUSED = 'connect ECONNREFUSED 10.9.0.7:7420: nothing listens there; is the agent running, is the port open?';

/** An agent with a link in every kind of trouble, and long names. */
const BUSY = reportOf({
  peers: [PEER, {...PEER, name: 'dr-1.example.internal', isConnected: false, reason: REFUSED, dialledBy: undefined}],
  volumes: [
    volumeOf({
      links: [
        linkOf(),
        linkOf({
          peer: 'dr-1.example.internal',
          peerVolume: 'copy',
          state: 'connecting',
          reason: REFUSED,
          lagMs: 90_000,
        }),
      ],
    }),
    volumeOf({
      name: 'uploads-of-the-web-shop',
      links: [linkOf({volume: 'uploads-of-the-web-shop', state: 'problems', problemCount: 3, pendingCount: 1_234})],
      notices: ['watching by polling'],
    }),
    volumeOf({
      name: 'logs',
      links: [linkOf({direction: 'receive', state: 'halted', halt: haltOf(), rateBytes: 1 << 20})],
    }),
    volumeOf({name: 'media', links: [], path: undefined, reason: 'docker has no volume media'}),
  ],
});

function render(report: AgentReport, columns: number, isDetailed = false): string[] {
  const options = {columns, isDetailed, commandOptions: ' --state /s'};
  return statusLines(report, options).map((line) =>
    line
      .map(({text}) => text)
      .join('')
      .trimEnd(),
  );
}

test('one link in sync is two short tables, without columns that have nothing to say', () => {
  expect(render(reportOf(), Number.POSITIVE_INFINITY)).toEqual([
    'web-1: agent 0.1.0, pid 4711, up 1 h 00 m, listens on [::]:7420, id 3f2a91bc7d01…',
    '',
    'PEER  CONNECTION',
    'db-2  connected for 50 m 00 s, we dialled db-2.internal:7420',
    '',
    'VOLUME  LINK    STATE    IN SYNC AS OF',
    `pgdata  → db-2  in sync  ${localTime(NOW_MS - 1_000)}`,
  ]);
});

test.each([60, 79, 119])('no line is wider than %d cells, whatever it has to say', (columns) => {
  for (const line of render(BUSY, columns)) expect(widthOf(line)).toBeLessThanOrEqual(columns);
});

test('79 cells keep states, times and problems; what is behind comes back with 119', () => {
  const head = (columns: number): string => render(BUSY, columns).find((line) => line.startsWith('VOLUME'))!;
  expect(head(79).split(/ {2,}/)).toEqual(['VOLUME', 'LINK', 'STATE', 'IN SYNC AS OF', 'PROBLEMS', 'BEHIND']);
  expect(head(119).split(/ {2,}/).slice(-3)).toEqual(['BEHIND', 'PENDING', 'RATE']);
});

test('each trouble is followed by its reason, and by the command that helps', () => {
  const lines = render(BUSY, Number.POSITIVE_INFINITY);
  const after = (start: string): string => lines[lines.findIndex((line) => line.includes(start)) + 1]!;
  expect(after('copy')).toBe(`  ${REFUSED}`);
  expect(after('uploads-of-the-web-shop')).toBe('  next: towline pending uploads-of-the-web-shop --state /s');
  expect(after('HALTED')).toBe('  1,234 of 2,000 entries would be deleted');
  expect(after('1,234 of 2,000')).toBe('  next: towline confirm logs --state /s');
  expect(after('media')).toBe('  docker has no volume media');
  expect(lines).toContain('  note: watching by polling');
  expect(lines.find((line) => line.startsWith('dr-1'))).toContain(`not connected: ${REFUSED} (db-2.internal:7420`);
});

test('what keeps a whole volume is said once, not again for each of its links', () => {
  const message = '/srv/data is another directory than the volume';
  const link = linkOf({state: 'halted', reason: message});
  const halted = volumeOf({name: 'data', links: [link, link], reason: message, halt: haltOf({message})});
  expect(render(reportOf({peers: [], volumes: [halted]}), 119).slice(-2)).toEqual([
    `  ${message}`,
    '  next: towline confirm data --state /s',
  ]);
});

test('a halt of the other side is followed by where it is confirmed', () => {
  const link = linkOf({
    state: 'halted',
    reason: 'db-2: 30 of 33 entries would be deleted',
    peer: 'db-2',
    peerVolume: 'd',
  });
  expect(render(reportOf({peers: [], volumes: [volumeOf({links: [link]})]}), 119).slice(-2)).toEqual([
    '  db-2: 30 of 33 entries would be deleted',
    '  next: on db-2: towline confirm d',
  ]);
});

test('a paused volume has one line below it, whatever its reason says', () => {
  const reason = 'paused; go on with towline resume data';
  const report = reportOf({peers: [], volumes: [volumeOf({name: 'data', links: [], isPaused: true, reason})]});
  expect(render(report, 79).slice(-2)).toEqual([
    expect.stringMatching(/^data +paused$/),
    '  next: towline resume data --state /s',
  ]);
});

test('one volume shows its places and digests, a halted agent says so first', () => {
  const volume = volumeOf({staging: '/var/lib/towline/stage', trash: '/var/lib/towline/trash', isPaused: true});
  const lines = render(
    reportOf({volumes: [volume], halt: haltOf({message: 'another agent has this identity'})}),
    120,
    true,
  );
  expect(lines[1]).toBe('  HALTED: another agent has this identity');
  expect(lines).toContain(`  digest ${'7d01'.repeat(16)}`);
  expect(lines).toContain('  next: towline resume pgdata --state /s');
  expect(lines.slice(-5)).toEqual([
    'address  docker:pgdata',
    'path     /var/lib/docker/volumes/pgdata/_data',
    'entries  1,234',
    'staging  /var/lib/towline/stage',
    'trash    /var/lib/towline/trash',
  ]);
});

test('names and sentences of others write nothing to the terminal', () => {
  const evil = 'a\u001b[2J\nb';
  const link = linkOf({volume: evil, peer: evil, peerVolume: 'x\u202ey', state: 'problems', reason: evil});
  const volume = volumeOf({
    name: evil,
    address: evil,
    path: evil,
    links: [link],
    notices: [evil],
    halt: haltOf({message: evil}),
  });
  const report = reportOf({
    name: evil,
    volumes: [volume],
    peers: [{...PEER, name: evil, isConnected: false, reason: evil}],
  });
  const text = [...render(report, 80), ...render(report, 80, true), linkLine(link), peerLine(report.peers[0]!)].join(
    '',
  );
  expect(text).not.toMatch(/[\u0000-\u001f\u202e]/);
});

describe('the exit code', () => {
  const away = [{...PEER, isConnected: false}];
  const withLink = (over: Parameters<typeof linkOf>[0], more: Partial<AgentReport> = {}): AgentReport =>
    reportOf({volumes: [volumeOf({links: [linkOf(over)]})], ...more});
  test.each<[title: string, report: AgentReport, exitCode: number]>([
    ['all in sync', reportOf(), 0],
    ['no volumes', reportOf({volumes: []}), 0],
    ['sending', withLink({state: 'sending'}), 1],
    ['problems', withLink({state: 'problems', problemCount: 1}), 1],
    ['paused', withLink({state: 'paused'}), 1],
    ['paused, its peer away', withLink({state: 'paused'}, {peers: away}), 1],
    ['a volume without its root', reportOf({volumes: [volumeOf({links: [], reason: 'missing'})]}), 1],
    ['the peer away', withLink({state: 'connecting'}, {peers: away}), 5],
    ['a peer away that no link needs', reportOf({peers: [PEER, {...PEER, name: 'other', isConnected: false}]}), 0],
    ['a link halted', withLink({state: 'halted', halt: haltOf()}, {peers: away}), 3],
    ['a volume halted', reportOf({volumes: [volumeOf({halt: haltOf()})]}), 3],
    ['the agent halted', reportOf({halt: haltOf()}), 3],
  ])('%s', (_, report, exitCode) => {
    expect(exitCodeOfReport(report)).toBe(exitCode);
  });
});

test('text is broken at spaces, and words that are too long anywhere', () => {
  expect(wrapText('aa bb cc', 5)).toEqual(['aa bb', 'cc']);
  expect(wrapText('aaaaaaa b', 3)).toEqual(['aaa', 'aaa', 'a b']);
  expect(wrapText('日本語', 4)).toEqual(['日本', '語']);
  expect(wrapText('a b', Number.POSITIVE_INFINITY)).toEqual(['a b']);
});

test('a time of another day has its date', () => {
  expect(localMoment(NOW_MS, NOW_MS)).toMatch(/^\d\d:\d\d:\d\d [+-]\d\d:\d\d$/);
  expect(localMoment(NOW_MS - 3 * 86_400_000, NOW_MS)).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d\d:\d\d$/);
});

test('what a link leaves out or maps because it was told to is said where one volume is asked for', () => {
  const chosen = ['FIFOs, sockets and devices are skipped', 'owners are mapped: 0-999:100000'];
  const report = reportOf({volumes: [volumeOf({links: [linkOf({chosen})]})]});
  for (const phrase of chosen) {
    expect(render(report, Number.POSITIVE_INFINITY, true)).toContain(`  ${phrase}`);
    expect(render(report, Number.POSITIVE_INFINITY).join('\n')).not.toContain(phrase);
  }
});
