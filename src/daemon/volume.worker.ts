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
import {TowlineError} from '../base/errors.ts';
import {serveJobs} from '../base/jobs.ts';
import {loadXxhash} from '../delta/hash.ts';
import {Jail} from '../linux/jail.ts';
import {isLinuxError, type LinuxError} from '../linux/linux-error.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {fromText} from '../model/path.ts';
import type {RootIdentity, WithRoot} from '../model/root.ts';
import {scanHandlers} from '../scan/scan-tree.ts';
import {heldRoot} from '../volume/open-root.ts';
import type {VolumeJobs} from './volume-jobs.ts';
import {openPlacesInRoot, type Places} from '../volume/places.ts';
import {newKeptFiles} from '../volume/kept-content.ts';
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
  const kept = newKeptFiles();
  const read = transferHandlers(withRoot, kept);
  const applied = applyHandlers(placesOf(root, places, withRoot));
  return {
    handlers: {...scanHandlers(withRoot), ...readHandlers(withRoot, kept), ...read.handlers, ...applied.handlers},
    isHolding: () => read.isHolding() || applied.isHolding(),
    isCaching: () => read.isCaching?.() === true,
    close: () => {
      read.close();
      applied.close();
    },
  };
});

function placesOf(root: RootIdentity, places: Places | undefined, withRoot: WithRoot): WithPlaces {
  return (job) => {
    if (places === undefined) throw new Error('this volume has no staging folder');
    const {reserve = 0} = places;
    if (places.isInRoot) {
      return withRoot((open) => {
        const opened = openPlacesInRoot(open.fd, Buffer.from(root.path, 'latin1').toString());
        try {
          return job(open, {...opened, reserve});
        } finally {
          closeFd(opened.stagingFd);
          closeFd(opened.trashFd);
        }
      });
    }
    const {stagingFd, trashFd} = openPlaces(places, withRoot);
    try {
      return withRoot((open) => job(open, {stagingFd, trashFd, reserve}));
    } finally {
      closeFd(stagingFd);
      closeFd(trashFd);
    }
  };
}

/** @throws HALTED, SYSTEM */
function openPlaces({staging, trash}: Places, withRoot: WithRoot): {stagingFd: number; trashFd: number} {
  const opened: number[] = [];
  try {
    jail.outside(() => [staging, trash].forEach((path) => opened.push(openDirPath(fromText(path)))));
    const [stagingFd, trashFd] = opened as [number, number];
    return {stagingFd, trashFd};
  } catch (error) {
    opened.forEach(closeFd);
    // A volume that an engine removes takes them with it: the root that is gone is the trouble then.
    withRoot(() => undefined);
    throw isLinuxError(error) ? placesGone(staging, error) : error;
  }
}

function placesGone(staging: string, error: LinuxError): TowlineError {
  const message = `${staging} cannot be opened (${error.code}); towline pause and resume make it again`;
  return new TowlineError('SYSTEM', message, {syscall: error.syscall, errno: error.code, path: staging});
}

/** A folder that is empty for good: it is removed while it is held. */
function emptyFolder(): number {
  const path = mkdtempSync(join(tmpdir(), 'towline-rest-'));
  const fd = openDirPath(fromText(path));
  rmdirSync(path);
  return fd;
}
