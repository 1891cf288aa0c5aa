import {readFileSync} from 'node:fs';
import {describe, expect, test} from 'vitest';
import {ENTRY_TYPES} from '../../../src/model/entry.ts';
import {EXTENSION_IGNORABLE} from '../../../src/wire/fields.ts';
import {MESSAGE_CODE, OP_CODE, PROBLEM_CODE, TYPE_CODE} from '../../../src/wire/codes.ts';
import {COSTS_CREDIT} from '../../../src/wire/credits.ts';
import {SENT_BY} from '../../../src/wire/direction.ts';
import * as limits from '../../../src/wire/limits.ts';
import type {MessageKind} from '../../../src/wire/messages.ts';

const page = readFileSync(new URL('../../../src/wire/PROTOCOL.md', import.meta.url), 'utf8');

describe('PROTOCOL.md says what the code does', () => {
  test('about the number, the sender and the cost of all 42 kinds', () => {
    const rows = [...page.matchAll(/^\| 0x(\w\w) \| ([a-z-]+) \| (\w+) \| (yes|no) \|$/gm)];
    const said = rows.map(([, code = '', kind, by, cost]) => [kind, parseInt(code, 16), by, cost === 'yes']);
    const kinds = Object.keys(MESSAGE_CODE) as MessageKind[];
    expect(said).toEqual(kinds.map((kind) => [kind, MESSAGE_CODE[kind], SENT_BY[kind], COSTS_CREDIT[kind]]));
    expect(said.length).toBe(42);
  });

  test.each([
    ['entry types', ENTRY_TYPES.map((type) => `${TYPE_CODE[type]} ${type}`)],
    ['problem codes', Object.entries(PROBLEM_CODE).map(([code, number]) => `${number} ${code}`)],
  ])('about the numbers of %s', (_, items) => {
    expect(page).toContain(`: ${items.join(', ')}.`);
  });

  test('about the numbers of the 8 operations', () => {
    for (const [kind, code] of Object.entries(OP_CODE)) expect(page).toContain(`| ${code} ${kind} |`);
  });

  test('about the limits', () => {
    expect(page).toContain(`**2 MiB** (${limits.FRAME_BYTES_MAX.toLocaleString('en')} bytes)`);
    for (const count of [
      limits.BATCH_OPS_MAX,
      limits.HASH_PATHS_MAX,
      limits.GROUP_PATHS_MAX,
      limits.LEAF_OPS_MAX_PER_FRAME,
      limits.SIGNATURE_BLOCKS_MAX,
      limits.IGNORE_PATTERNS_MAX,
      limits.LINK_TARGET_BYTES_MAX,
    ]) {
      expect(page).toContain(count.toLocaleString('en'));
    }
    expect(page).toContain(`ping every ${limits.HEARTBEAT_MS / 1_000} s`);
    expect(page).toContain(`came for ${limits.PEER_DEAD_MS / 1_000} s`);
    expect(page).toContain(`| ${limits.REQUESTS_OPEN_MAX} requests open`);
    expect(page).toContain(`| ${limits.BATCHES_OPEN_MAX} batches without result`);
    expect(page).toContain(`| ${limits.CUTS_OPEN_MAX} cut without result`);
    expect(page).toContain(`| ${limits.HELLO_DEADLINE_MS / 1_000} s, and nothing else is accepted until then |`);
    expect(page).toContain(`| ${limits.ANSWER_DEADLINE_MS / 60_000} min while its heartbeat goes on |`);
    expect(EXTENSION_IGNORABLE.toString(16)).toBe('8000');
  });
});
