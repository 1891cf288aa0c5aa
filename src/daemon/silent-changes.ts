/**
 * Changes of a source of which no watcher is told: stores through mmap(2), and bytes that came under times which were
 * there before. Joins what finds them with the volume that is followed.
 *
 * Wiring. Invariant: nothing touches the state after the signal was aborted.
 */
import {filesystemOf, TMPFS_TYPE} from '../linux/filesystem.ts';
import {closeFd} from '../linux/open-fd.ts';
import {nameOf, parentOf} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import type {LiveVolume} from '../session/live-volume.ts';
import type {SecondLook} from '../session/second-look.ts';
import type {VolumeStore} from '../state/volume-store.ts';
import {openRoot} from '../volume/root-identity.ts';
import type {MappedFiles} from '../watch/mapped-files.ts';

/** Only tests set them, which cannot wait so long. */
export interface SilentTimes {
  /** As QUIET_MS. */
  quietMs?: number;
  /** As MAPPED_MS. */
  mappedMs?: number;
}

export interface SilentChangesParts {
  root: RootIdentity;
  store: VolumeStore;
  live: LiveVolume;
  secondLook: SecondLook;
  mapped: MappedFiles;
}

/** Follows them until the signal is aborted. @throws what keeps the volume from being read */
export async function followSilentChanges(parts: SilentChangesParts, signal: AbortSignal): Promise<void> {
  const {store, live, secondLook, mapped} = parts;
  const hasTimes = !isTmpfs(parts.root);
  const leave = mapped.listen((inodes) => {
    secondLook.setMapped(inodes);
    for (const ino of inodes) {
      const file = store.findByInode(ino).find(({entry}) => entry.type === 'file');
      if (file === undefined) continue;
      live.note(parentOf(file.path), nameOf(file.path));
      if (!hasTimes) secondLook.doubt(ino);
    }
  });
  try {
    await secondLook.run(live, signal);
  } finally {
    leave();
  }
}

/** Where a page is never written back, only the first store to it changes the file's times. */
function isTmpfs(root: RootIdentity): boolean {
  const {fd} = openRoot(root.path, root);
  try {
    return filesystemOf(fd).type === TMPFS_TYPE;
  } finally {
    closeFd(fd);
  }
}
