/**
 * A worker of volumes: reads, scans, stages and switches on behalf of their ends of links. Wiring only.
 *
 * Everything is imported before the jail. Invariant: outside a job the thread rests in an empty folder and holds
 * nothing of a volume but files that are being transferred.
 */
import {mkdtempSync, rmdirSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {applyHandlers} from '../apply/apply-jobs.ts';
import type {WithPlaces} from '../apply/context.ts';
import {serveJobs} from '../base/jobs.ts';
import {loadXxhash} from '../delta/hash.ts';
import {Jail} from '../linux/jail.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {fromText} from '../model/path.ts';
import type {RootIdentity, WithRoot} from '../model/root.ts';
import {scanHandlers} from '../scan/scan-tree.ts';
import {heldRoot} from '../volume/open-root.ts';
import type {VolumeJobs} from './volume-jobs.ts';
import {openPlacesInRoot, type Places} from '../volume/places.ts';
import {readHandlers} from '../volume/read-files.ts';
import {transferHandlers} from '../volume/read-transfer.ts';

/** What the handlers of a volume are made of. */
export interface VolumeScope {
  root: RootIdentity;
  /** Where staging and trash are; undefined on a source. */
  places: Places | undefined;
}

await loadXxhash();
const jail = new Jail(emptyFolder());

serveJobs<VolumeJobs>((data) => {
  const {root, places} = data as VolumeScope;
  const withRoot = heldRoot({path: root.path, expected: root, jail});
  const read = transferHandlers(withRoot);
  const applied = applyHandlers(placesOf(root, places, withRoot));
  return {
    handlers: {...scanHandlers(withRoot), ...readHandlers(withRoot), ...read.handlers, ...applied.handlers},
    isHolding: () => read.isHolding() || applied.isHolding(),
    close: () => {
      read.close();
      applied.close();
    },
  };
});

function placesOf(root: RootIdentity, places: Places | undefined, withRoot: WithRoot): WithPlaces {
  return (job) => {
    if (places === undefined) throw new Error('this volume has no staging folder');
    const {staging, trash, isInRoot} = places;
    if (isInRoot) {
      return withRoot((open) => {
        const opened = openPlacesInRoot(open.fd, Buffer.from(root.path, 'latin1').toString());
        try {
          return job(open, opened);
        } finally {
          closeFd(opened.stagingFd);
          closeFd(opened.trashFd);
        }
      });
    }
    const [stagingFd, trashFd] = jail.outside(
      () => [openDirPath(fromText(staging)), openDirPath(fromText(trash))] as const,
    );
    try {
      return withRoot((open) => job(open, {stagingFd, trashFd}));
    } finally {
      closeFd(stagingFd);
      closeFd(trashFd);
    }
  };
}

/** A folder that is empty for good: it is removed while it is held. */
function emptyFolder(): number {
  const path = mkdtempSync(join(tmpdir(), 'towline-rest-'));
  const fd = openDirPath(fromText(path));
  rmdirSync(path);
  return fd;
}
