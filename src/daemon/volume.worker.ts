/**
 * A worker for one volume: reads, scans, stages and switches on behalf of its end of the link. Wiring only.
 *
 * Everything is imported before the jail. Invariant: outside a job the thread rests in an empty folder and holds
 * nothing of the volume but files that are being transferred.
 */
import {mkdtempSync, rmdirSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {workerData} from 'node:worker_threads';
import {applyHandlers} from '../apply/apply-jobs.ts';
import type {WithPlaces} from '../apply/context.ts';
import {serveJobs} from '../base/jobs.ts';
import {loadXxhash} from '../delta/hash.ts';
import {Jail} from '../linux/jail.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {fromText} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import {scanHandlers} from '../scan/scan-tree.ts';
import {heldRoot} from '../volume/open-root.ts';
import type {VolumeJobs} from './volume-jobs.ts';
import {openPlacesInRoot, type Places} from '../volume/places.ts';
import {readHandlers} from '../volume/read-files.ts';
import {transferHandlers} from '../volume/read-transfer.ts';

/** What a volume's worker is started with. */
export interface VolumeWorkerData {
  root: RootIdentity;
  /** Where staging and trash are; undefined on a source. */
  places: Places | undefined;
}

const {root, places} = workerData as VolumeWorkerData;
await loadXxhash();
const jail = new Jail(emptyFolder());
const withRoot = heldRoot({path: root.path, expected: root, jail});

const withPlaces: WithPlaces = (job) => {
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

serveJobs<VolumeJobs>({
  ...scanHandlers(withRoot),
  ...readHandlers(withRoot),
  ...transferHandlers(withRoot),
  ...applyHandlers(withPlaces),
});

/** A folder that is empty for good: it is removed while it is held. */
function emptyFolder(): number {
  const path = mkdtempSync(join(tmpdir(), 'towline-rest-'));
  const fd = openDirPath(fromText(path));
  rmdirSync(path);
  return fd;
}
