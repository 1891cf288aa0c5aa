/** Which DST of a sync is a peer's volume, and which is a folder or another address. */
import {expect, test} from 'vitest';
import {peerPlaceOf} from '../../../src/cli/sync-peer-command.ts';

test.each<[typed: string, place: ReturnType<typeof peerPlaceOf>]>([
  ['db-2:pgdata', {peer: 'db-2', volume: 'pgdata'}],
  ['db-2:docker:pgdata', {peer: 'db-2', volume: 'docker:pgdata'}],
  ['db-2:/srv/data', {peer: 'db-2', volume: '/srv/data'}],
  ['./db-2:pgdata', undefined],
  ['/srv/a:b', undefined],
  ['path:/srv/data', undefined],
  ['docker:pgdata', undefined],
  ['podman-container:web:/data', undefined],
  ['both:a', undefined],
  ['db-2:', undefined],
  [':pgdata', undefined],
  ['data', undefined],
])('%s', (typed, place) => {
  expect(peerPlaceOf(typed)).toEqual(place);
});
