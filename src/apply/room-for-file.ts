/**
 * Room for a large file that comes leaf by leaf: looked for when it is begun, and again as its leaves come. Runs in a worker.
 *
 * Invariant: what is only sent again, parts of other files, goes before anything of the trash.
 */
import {LEAF_BYTES} from '../model/digest.ts';
import type {Failed} from '../model/op.ts';
import type {PartialFile} from '../model/partial-file.ts';
import type {Name, RelPath} from '../model/path.ts';
import type {OpenPlaces, WithPlaces} from './context.ts';
import {failureFrom} from './failure.ts';
import {makeRoom, noSpace, roomOn, wouldFree, type Room} from './make-room.ts';
import {partBytes, removePart} from './partial-file.ts';
import type {Freed} from './trash-age.ts';

/** The reserve may have shrunk since the file was begun: by others, or by files that came beside it. */
export function roomForLeaves(
  {fd, path, reserve}: {fd: number; path: RelPath; reserve: number},
  leafCount: number,
  withPlaces: WithPlaces,
): {fault?: Failed; freed?: {freed: Freed}} {
  const neededBytes = leafCount * LEAF_BYTES;
  if (roomOn(fd, reserve).spareBytes >= neededBytes) return {};
  try {
    return withPlaces((_root, places) => {
      const room = makeRoom(places, neededBytes);
      const fault = neededBytes > room.spareBytes ? noSpace(path, neededBytes, room) : undefined;
      return {...(fault && {fault}), ...(room.freed && {freed: {freed: room.freed}})};
    });
  } catch (error) {
    return {fault: failureFrom(error, path)};
  }
}

/** What had to go for a file: others' parts, and of the trash. */
export interface Gone {
  removed: Name[];
  freed?: Freed;
}

/**
 * Others' parts are given up first, which are only sent again, and then the oldest of the trash; nothing where all of
 * them would not be enough.
 */
export function roomFor(neededBytes: number, places: OpenPlaces, spare: readonly PartialFile[], gone: Gone): Room {
  const {stagingFd, trashFd, reserve} = places;
  const before = roomOn(stagingFd, reserve);
  if (neededBytes > before.totalBytes - before.reserveBytes) return before;
  const sparedBytes = spare.reduce((sum, part) => sum + partBytes(stagingFd, part), before.spareBytes);
  if (neededBytes > sparedBytes && !wouldFree(trashFd, neededBytes - sparedBytes)) return before;
  for (const part of spare) {
    if (roomOn(stagingFd, reserve).spareBytes >= neededBytes) break;
    gone.removed.push(part.stage);
    removePart(stagingFd, part);
  }
  const room = makeRoom(places, neededBytes);
  if (room.freed !== undefined) gone.freed = room.freed;
  return room;
}
