/**
 * What the steps of one batch share while it runs in a worker: the held root, open directories, staging, trash.
 */
import {DirCache} from '../linux/dir-cache.ts';
import {EPERM, LinuxError} from '../linux/linux-error.ts';
import {isWithin, nameOf, parentOf, type Name, type RelPath} from '../model/path.ts';
import type {OpenRoot} from '../model/root.ts';
import type {View} from '../model/view.ts';
import {TouchedDirs} from './touched-dirs.ts';
import {Trash} from './trash.ts';

/** Descriptors of Towline's own folders on the volume's filesystem, valid inside one job. */
export interface OpenPlaces {
  stagingFd: number;
  trashFd: number;
  /** Share of their filesystem that is left free, 0 to 1. */
  reserve: number;
}

export type WithPlaces = <T>(job: (root: OpenRoot, places: OpenPlaces) => T) => T;

export interface ApplyOptions {
  isDurable: boolean;
  /** As both sides agreed on it: what is beyond it is not set, whatever the source asks. */
  view: View;
  /** Names in the root that are no part of the volume. */
  reserved: readonly Name[];
}

export class ApplyContext implements Disposable {
  readonly options: ApplyOptions;
  readonly root: OpenRoot;
  readonly stagingFd: number;
  readonly dirs: DirCache;
  readonly touched = new TouchedDirs();
  readonly trash: Trash;
  readonly batch: number;
  /** After a crash: some of the batch may have been done, and what cannot be done now stays staged, to be tried again. */
  readonly isRecovery: boolean;

  constructor(
    options: ApplyOptions,
    parts: {root: OpenRoot; places: OpenPlaces; batch: number; atMs: number; isRecovery?: boolean | undefined},
  ) {
    this.options = options;
    this.root = parts.root;
    this.stagingFd = parts.places.stagingFd;
    this.dirs = new DirCache({rootFd: parts.root.fd, countMax: 64});
    this.trash = new Trash(parts.places.trashFd, parts.atMs);
    this.batch = parts.batch;
    this.isRecovery = parts.isRecovery ?? false;
  }

  /**
   * The parent directory of a path, opened below the root, and the name in it.
   * @throws LinuxError EPERM for what is Towline's own: no peer has a say there
   */
  place(path: RelPath): {dirFd: number; name: Name} {
    if (this.options.reserved.some((name) => isWithin(path, name))) throw new LinuxError('openat', EPERM);
    return {dirFd: this.dirs.open(parentOf(path)), name: nameOf(path)};
  }

  /** As `place`, for a change of what the directory holds: its time will be put back. */
  changedPlace(path: RelPath): {dirFd: number; name: Name} {
    const place = this.place(path);
    this.touched.touch(parentOf(path), place.dirFd);
    return place;
  }

  [Symbol.dispose](): void {
    this.dirs.dropAll();
    this.trash.close();
  }
}
