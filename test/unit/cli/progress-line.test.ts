/** The progress line: what it says, how often, and that it never wraps. */
import {expect, test} from 'vitest';
import {type Progress, ProgressLine} from '../../../src/cli/progress-line.ts';
import {cutFront, widthOf} from '../../../src/cli/text.ts';

function progressOf(over: Partial<Progress> = {}): Progress {
  return {
    kind: 'progress',
    phase: 'copy',
    entriesDone: 0,
    entriesTotal: 10,
    bytesDone: 0,
    bytesTotal: 100 * 2 ** 20,
    path: 'a/b',
    ...over,
  };
}

test('shows share, amount, rate and time left', () => {
  const line = new ProgressLine({isTerminal: true});
  line.update(progressOf(), 0, 100);
  expect(line.update(progressOf({bytesDone: 25 * 2 ** 20}), 1_000, 100)).toBe(
    'copy      25% [#####...............]  25.0 MiB of 100.0 MiB  25.0 MiB/s  3.00 s left  a/b',
  );
});

test('counts entries where bytes or totals are not known', () => {
  const line = new ProgressLine({isTerminal: true});
  const scan = {phase: 'scan', entriesTotal: undefined, bytesTotal: undefined, path: undefined} as const;
  line.update(progressOf(scan), 0, 100);
  expect(line.update(progressOf({...scan, entriesDone: 12_345}), 500, 100)).toBe('scan     12,345 entries  24,690/s');
});

test('of 10,000 updates in 2 s at most 20 are drawn on a terminal and 2 elsewhere', () => {
  const drawn = (isTerminal: boolean): number => {
    const line = new ProgressLine({isTerminal});
    const updates = Array.from({length: 10_000}, (_, index) => line.update(progressOf(), index / 5, 80));
    return updates.filter((text) => text !== undefined).length;
  };
  expect(drawn(true)).toBe(20);
  expect(drawn(false)).toBe(2);
});

test('is narrower than the terminal, whatever its width and whatever the path', () => {
  for (const path of ['d/'.repeat(500), '\xe6\xbc\xa2'.repeat(100), '\xff'.repeat(200), '\x1b[2J']) {
    for (let columns = 1; columns < 200; columns++) {
      const text = new ProgressLine({isTerminal: true}).update(progressOf({path}), 0, columns)!;
      expect(widthOf(text)).toBeLessThan(Math.max(columns, 2));
      expect(text).not.toMatch(/[\u0000-\u001f]/);
    }
  }
});

test('the rate follows the last 5 s, not the whole run', () => {
  const line = new ProgressLine({isTerminal: true});
  for (let second = 0; second <= 10; second++)
    line.update(progressOf({bytesDone: second * 2 ** 20}), second * 1_000, 100);
  let text: string | undefined;
  for (let second = 1; second <= 10; second++) {
    text = line.update(progressOf({bytesDone: (10 + 4 * second) * 2 ** 20}), (10 + second) * 1_000, 100);
  }
  expect(text).toContain(' 4.0 MiB/s ');
});

test('a long path keeps its end', () => {
  expect(cutFront('abcdef', 4)).toBe('…def');
  expect(cutFront('漢字漢字', 5)).toBe('…漢字');
  expect(cutFront('abc', 3)).toBe('abc');
});
