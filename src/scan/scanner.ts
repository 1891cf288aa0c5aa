/**
 * Compares what a worker saw with what the state remembers, and brings the state up to date. Says what changed.
 *
 * Not a planner: it does not know the peer. Invariants: an entry that was not looked at is not judged; nothing below
 * a directory that could not be read whole is taken for gone; a name that vanished is looked for elsewhere by its
 * inode before it is taken for deleted.
 */
import type {JobRunner} from '../base/jobs.ts';
import {ENOENT, ENOTDIR} from '../linux/linux-error.ts';
import {isAsRead, isSameListed, isUntouched, sameInode, sameStatMeta, type Entry, type Stat} from '../model/entry.ts';
import {IdMap} from '../model/ids.ts';
import {isWithin, joinPath, nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import {bumped} from '../model/version.ts';
import {confirmGone, dropGone} from './gone.ts';
import {isTooMany, isUnwalked, noteAgain, portionsOf} from './list-again.ts';
import type {Listing, ListedEntry} from './listing.ts';
import {readMapped} from './mapped-listings.ts';
import type {EntryStore} from './entry-store.ts';
import {largeAttrsOf, nowAt} from './look-again.ts';
import {markIncomplete, rowOf} from './own-row.ts';
import {
  doubtOtherNames,
  isAsKnown,
  isBelowNew,
  isDeferred,
  isLeft,
  isSwap,
  newPass,
  retarget,
  tellPut,
  type KnownEntry,
  type LookedAt,
  type Pass,
  type ScannerOptions,
  type ScanResult,
} from './pass.ts';
import {cannotCarry, rootUnreadable, tooManyAttrs, unreadable} from './scan-problems.ts';
import type {ScanJobs} from './scan-tree.ts';
import {scanToRest} from './scan-to-rest.ts';

const BETWEEN: Name = '/'; // a row's name for the length of an exchange; no file can have it

export class Scanner {
  readonly #options: ScannerOptions;
  readonly #parts: {store: EntryStore; jobs: JobRunner<ScanJobs>};
  readonly #ids: IdMap;
  #last: Promise<unknown> = Promise.resolve();
  /** Whether names of one file may have been seen at different moments since that was looked for, or before this began. */
  #mayBeApart = true;

  constructor(options: ScannerOptions, parts: {store: EntryStore; jobs: JobRunner<ScanJobs>}) {
    this.#options = options;
    this.#parts = parts;
    this.#ids = new IdMap(options.ids ?? []);
  }

  /**
   * Scans the whole volume; of the changes only renames are returned: who wants the others compares digests.
   * A directory that was renamed or replaced while it was scanned may be missed at both places: the scan is done again,
   * and what is missed every time counts as incomplete and is a problem, so that nothing is said to be equal.
   */
  scan(onProgress?: (entries: number) => void): Promise<ScanResult> {
    const {store} = this.#parts;
    const namesApart = (): RelPath[] => {
      const names = this.#mayBeApart ? store.namesApart() : []; // it goes through all linked entries
      this.#mayBeApart = false;
      return names;
    };
    const scanTree = (): Promise<ScanResult> => this.#inTurn(() => this.#scanTree(onProgress));
    return scanToRest({store, scanTree, lookAt: (dirs) => this.lookAt(dirs), namesApart});
  }

  /**
   * Looks at single names or whole directories and returns every change; a directory that is new is scanned with all
   * below it, which is not among the changes unless it was known elsewhere.
   * @param also `trees`: directories to be looked at with all below them; `unsettled`: names that changed too but are
   *   not to be read yet: what vanished may be there
   */
  lookAt(
    dirs: LookedAt[],
    also: {unsettled?: {path: RelPath; names: Name[]}[]; trees?: RelPath[]} = {},
  ): Promise<ScanResult> {
    return this.#inTurn(() => this.#lookAt(dirs, also.unsettled ?? [], also.trees ?? []));
  }

  /** One pass after the other: what was seen earlier never overwrites what was seen later. */
  #inTurn(pass: () => Promise<ScanResult>): Promise<ScanResult> {
    const turn = this.#last.then(pass, pass);
    this.#last = turn;
    return turn;
  }

  async #scanTree(onProgress?: (entries: number) => void): Promise<ScanResult> {
    const pass = newPass(false);
    await this.#walk(ROOT, pass, {onProgress, isBrief: this.#parts.store.hasFingerprints()});
    await this.#listAgain(ROOT, pass);
    await this.#takeDeferred(pass);
    await confirmGone(pass, (dirs) => this.#look(dirs));
    dropGone(pass, this.#parts.store);
    return pass.result;
  }

  async #walk(
    start: RelPath,
    pass: Pass,
    {onProgress, isBrief = false}: {onProgress?: ((entries: number) => void) | undefined; isBrief?: boolean} = {},
  ): Promise<void> {
    const onPart = async (packed: Uint8Array): Promise<void> => {
      for (const listing of readMapped(packed, this.#ids)) await this.#takeListing(listing, pass);
      onProgress?.(pass.result.entries);
    };
    pass.result.missed = pass.result.missed.filter((path) => !isWithin(path, start));
    const input = {start, rules: this.#options.rules, isBrief};
    pass.result.directories += (await this.#parts.jobs.run('scan-tree', input, {lane: 1, onPart})).directories;
  }

  /** All below a directory that the state knows, perhaps from elsewhere: most of it is as it was. */
  async #walkKnown(start: RelPath, pass: Pass): Promise<void> {
    await this.#walk(start, pass, {isBrief: true});
    await this.#listAgain(start, pass);
  }

  /** Lists the directories of a brief scan in which something may have changed. */
  async #listAgain(start: RelPath, pass: Pass): Promise<void> {
    if (isTooMany(pass.again)) {
      pass.again.clear();
      if (start === ROOT) Object.assign(pass.result, {entries: 0, directories: 0});
      return this.#walk(start, pass);
    }
    const lane = pass.isDetailed ? 0 : 1;
    for (const dirs of portionsOf(pass.again))
      for (const listing of await this.#look(dirs, {lane})) await this.#takeListing(listing, pass);
    pass.again.clear();
    for (const path of pass.unwalked.splice(0)) await this.#walk(path, pass);
  }

  async #lookAt(dirs: LookedAt[], unsettled: {path: RelPath; names: Name[]}[], trees: RelPath[]): Promise<ScanResult> {
    const {store} = this.#parts;
    const pass = newPass(true);
    // A tree whose directory is not known yet is a new name of its parent.
    const unknown = trees.filter((path) => store.dirIdOf(path) === undefined);
    const asked = [...dirs, ...unknown.map((path) => ({path: parentOf(path), names: [nameOf(path)]}))];
    for (const listing of await this.#look(asked, {isBrief: true})) {
      await this.#takeListing(listing, pass);
      await this.#listAgain(ROOT, pass); // at once: what comes next may build on it
    }
    for (const path of trees) if (!unknown.includes(path)) await this.#walkKnown(path, pass);
    await this.#walkNewAnd(unknown, pass);
    await confirmGone(pass, (some) => this.#look(some));
    if (pass.gone.size > 0 && unsettled.length > 0) {
      await this.#findGone(unsettled, pass);
      await this.#walkNewAnd(unknown, pass);
    }
    dropGone(pass, store);
    pass.result.directories += asked.length;
    const {missed, problems} = pass.result;
    if (missed.length > 0 || problems.length > 0) this.#mayBeApart = true; // names that it was for were not seen
    return pass.result;
  }

  /** Also scans what was asked for before the state knew it: a directory that came by a rename is not new. */
  async #walkNewAnd(unknown: RelPath[], pass: Pass): Promise<void> {
    await this.#walkNew(pass);
    await this.#takeDeferred(pass);
    for (const path of unknown) {
      if (pass.walked.has(path) || this.#parts.store.dirIdOf(path) === undefined) continue;
      pass.walked.add(path);
      await this.#walkKnown(path, pass);
      await this.#walkNewAnd([], pass);
    }
  }

  /** Scans the directories that are new: what vanished elsewhere may be in there. */
  async #walkNew(pass: Pass): Promise<void> {
    // Those that turn up meanwhile are walked in their turn.
    for (const path of pass.newDirs) {
      if (pass.walked.has(path)) continue;
      pass.walked.add(path);
      await this.#walk(path, pass);
    }
  }

  /** What took the place of something else, now that this has been found elsewhere or not. */
  async #takeDeferred(pass: Pass): Promise<void> {
    const {store} = this.#parts;
    for (let next = pass.deferred.shift(); next !== undefined; next = pass.deferred.shift()) {
      const {dirId, listed} = next;
      if (!store.hasDir(dirId)) continue; // went with a directory above it, in whose place something else is by now
      const path = joinPath(store.pathOf(dirId), listed.name);
      pass.isNew = pass.isDetailed && isBelowNew(parentOf(path), pass);
      await this.#takeEntry(path, dirId, listed, store.get(dirId, listed.name), pass);
      await this.#walkNew(pass);
      if (listed.stat().type === 'dir' && !pass.walked.has(path)) pass.replaced.add(path);
    }
    for (const path of pass.replaced) {
      pass.replaced.delete(path);
      await this.#walk(path, pass);
      if (pass.deferred.length > 0) return this.#takeDeferred(pass);
    }
  }

  async #takeListing(listing: Listing, pass: Pass): Promise<void> {
    const {store} = this.#parts;
    if (listing.status === 'unreadable') return this.#takeUnreadable(listing, pass);
    const isBrief = listing.status === 'brief';
    const dirId = this.#takeOwn(listing, pass);
    const isSame = dirId !== undefined && store.fingerprint(dirId)?.equals(listing.fingerprint) === true;
    if (isBrief && !isSame) return noteAgain(pass, listing);
    if (dirId === undefined) {
      pass.result.missed.push(listing.path); // its parent has not been seen: an event of the parent will come
      return;
    }
    pass.result.entries += listing.count;
    const isWhole = listing.status === 'whole';
    if ((isWhole || isBrief) && isSame) return;
    pass.isNew = pass.isDetailed && isBelowNew(listing.path, pass);
    const isFirst = isWhole && store.fingerprint(dirId) === undefined && store.isEmptyDir(dirId);
    const missing = isWhole && !isFirst ? store.outlines(dirId) : undefined;
    let hasProblem = false;
    let hasUnseen = false;
    for (const listed of listing.entries()) {
      const outline = missing?.get(listed.name);
      if (listed.state !== 'absent') missing?.delete(listed.name);
      if (outline !== undefined && isAsKnown(outline, {dir: listing.path, listed}, pass)) {
        if (outline.isIncomplete) hasProblem = true;
        continue;
      }
      const path = joinPath(listing.path, listed.name);
      const known = isFirst ? undefined : store.get(dirId, listed.name);
      if (listed.state === 'absent') {
        if (!isWhole && known !== undefined) pass.gone.set(path, known);
      } else if (listed.state === 'error') {
        hasProblem = true;
        hasUnseen = true;
        pass.result.problems.push(unreadable(path, listed.errno));
      } else if (known !== undefined && isDeferred(known, listed, pass)) {
        pass.deferred.push({dirId, listed});
        hasProblem = true; // not taken yet: should this run end here, the next one looks again
      } else if (!(await this.#takeEntry(path, dirId, listed, known, pass))) hasProblem = true;
      if (known === undefined && isUnwalked(path, listed, pass)) pass.unwalked.push(path);
    }
    for (const name of missing?.keys() ?? []) {
      const entry = store.get(dirId, name);
      if (entry !== undefined) pass.gone.set(joinPath(listing.path, name), entry);
    }
    const isSettled = !hasProblem && (missing?.size ?? 0) === 0;
    if (isWhole) store.setFingerprint(dirId, isSettled ? Buffer.from(listing.fingerprint) : undefined);
    if (hasUnseen) markIncomplete(store, listing.path); // a name is there, and the state may not know what it is
  }

  /** @returns whether the entry can be carried */
  async #takeEntry(
    path: RelPath,
    dirId: number,
    listed: ListedEntry,
    known: KnownEntry | undefined,
    pass: Pass,
  ): Promise<boolean> {
    const {store} = this.#parts;
    const stat = listed.stat();
    const fault = cannotCarry(path, stat, pass.mountId);
    if (fault !== undefined) {
      pass.result.problems.push(fault);
      return false;
    }
    const isTooMuch = listed.attrsAre === 'too-many';
    if (isTooMuch) pass.result.problems.push(tooManyAttrs(path));
    if (known !== undefined && isSameListed(known, stat)) return !known.isIncomplete && !isTooMuch;
    const large = listed.attrsAre === 'large' ? await largeAttrsOf(path, this.#parts.jobs) : listed.attrs;
    if (large === undefined) return false; // gone or grown meanwhile: it is looked at again
    const isSame = known !== undefined && sameInode(known, stat);
    const moved = isSame ? undefined : await this.#findMoved(path, dirId, listed.name, stat, known, pass);
    const before = moved ?? known;
    const attrs = listed.attrsAre === 'large' ? this.#ids.mapAttrs(large) : large;
    const after = this.#newEntry(listed.name, stat, {linkTarget: listed.linkTarget, attrs}, before);
    tellPut(pass, path, {before, after}, store);
    store.put(dirId, after);
    if (after.type !== 'dir' && after.nlink > 1) this.#mayBeApart = true;
    return !isTooMuch;
  }

  #newEntry(name: Name, stat: Stat, {linkTarget, attrs}: Pick<Entry, 'linkTarget' | 'attrs'>, before?: Entry): Entry {
    const keepsContent = before?.type === 'file' && isUntouched(before, stat);
    return {
      ...stat,
      name,
      linkTarget,
      attrs,
      content: keepsContent ? before.content : undefined,
      isIncomplete: before?.type === 'dir' && stat.type === 'dir' ? before.isIncomplete : false,
      seq: this.#parts.store.nextSeq(),
      version: bumped(before?.version ?? [], this.#options.agent),
    };
  }

  /** The known entry that this new name is another place of, moved to its new place in the state. */
  async #findMoved(
    path: RelPath,
    dirId: number,
    name: Name,
    stat: Stat,
    known: KnownEntry | undefined,
    pass: Pass,
  ): Promise<KnownEntry | undefined> {
    if (stat.type !== 'dir' && stat.nlink > 1) return undefined; // another name of a hard link, not a rename
    const {store} = this.#parts;
    for (const old of store.findByInode(stat.ino)) {
      if (!sameInode(old, stat) || (old.parentId === dirId && old.name === name)) continue;
      const from = joinPath(store.pathOf(old.parentId), old.name);
      const there = pass.gone.has(from) ? undefined : await nowAt(from, this.#options.rules, this.#parts.jobs);
      if (there === 'unknown' || (there !== undefined && sameInode(old, there))) continue;
      if (stat.type === 'dir' && (path === from || path.startsWith(`${from}/`))) continue;
      // The target may have another version of it, which was never under this name: its readers must not see that there.
      const isChanged = stat.type === 'file' && !isAsRead(old, stat);
      if (isChanged && known !== undefined) continue;
      if (known !== undefined && there !== undefined && isSwap(known, there, {from, path})) {
        this.#exchange(pass, {from, path}, old, known);
        return {...old, parentId: dirId, name};
      }
      if (known !== undefined) doubtOtherNames(known, pass, store);
      pass.gone.delete(from);
      store.move(old.parentId, old.name, dirId, name);
      retarget(pass, from, path);
      pass.moved.add(path);
      if (isChanged) pass.movedFrom.set(path, from);
      else pass.result.changes.push({kind: 'renamed', path: from, to: path, entry: old, isOver: known !== undefined});
      return {...old, parentId: dirId, name};
    }
    return undefined;
  }

  /** Looks for what vanished among names that are not settled: a rename that is followed by writes is one all the same. */
  async #findGone(unsettled: {path: RelPath; names: Name[]}[], pass: Pass): Promise<void> {
    const {store} = this.#parts;
    const inodes = new Set([...pass.gone.values()].map(({ino}) => ino));
    for (const listing of await this.#look(unsettled)) {
      const dirId = listing.status === 'unreadable' ? undefined : store.dirIdOf(listing.path);
      if (dirId === undefined) continue;
      pass.isNew = isBelowNew(listing.path, pass);
      for (const listed of listing.entries()) {
        if (listed.state !== 'present') continue;
        const path = joinPath(listing.path, listed.name);
        const [stat, known] = [listed.stat(), store.get(dirId, listed.name)];
        if (inodes.has(stat.ino) && !isLeft(stat, known, pass))
          await this.#findMoved(path, dirId, listed.name, stat, known, pass);
        else if (stat.type === 'dir' && known === undefined) await this.#takeEntry(path, dirId, listed, known, pass);
      }
    }
  }

  /** Two names have changed places, perhaps through a third that was never seen: their rows do the same. */
  #exchange(pass: Pass, at: {from: RelPath; path: RelPath}, old: KnownEntry, known: KnownEntry): void {
    const {store} = this.#parts;
    store.batch(() => {
      store.move(old.parentId, old.name, old.parentId, BETWEEN);
      store.move(known.parentId, known.name, old.parentId, old.name);
      store.move(old.parentId, BETWEEN, known.parentId, known.name);
    });
    pass.moved.add(at.from).add(at.path);
    pass.exchanged.add(at.from);
    pass.exchanged.add(at.path);
    pass.result.changes.push({kind: 'exchanged', path: at.from, to: at.path, entry: old, other: known});
  }

  /** The directory's own metadata. @returns its id, or undefined when the state does not know it */
  #takeOwn(listing: Listing, pass: Pass): number | undefined {
    const {path, status} = listing;
    const stat = listing.ownStat();
    const {known, put} = rowOf(this.#parts.store, path);
    if (path !== ROOT && (known?.type !== 'dir' || !sameInode(known, stat))) return undefined; // replaced: its parent's turn
    if (path === ROOT || pass.mountId === 0) pass.mountId = stat.mountId;
    if (path === ROOT && listing.hasTooManyAttrs) pass.result.problems.push(tooManyAttrs(path));
    const isWhole = status === 'whole'; // only a listing shows that nothing is missing any more
    const isHealed = isWhole && known?.isIncomplete === true;
    if (known === undefined || !isUntouched(known, stat) || !sameStatMeta(known, stat) || isHealed) {
      const isIncomplete = !isWhole && known?.isIncomplete === true;
      const seen = {linkTarget: '', attrs: listing.ownAttrs};
      const after = {...this.#newEntry(path === ROOT ? '' : nameOf(path), stat, seen, known), isIncomplete};
      put(after);
      if (pass.isDetailed)
        pass.result.changes.push({kind: 'put', path, before: known && {parentId: 0, dirId: 1, ...known}, after});
    }
    return this.#parts.store.dirIdOf(path);
  }

  /** @throws HALTED for the root: nothing can be said about the volume */
  #takeUnreadable({path, errno}: Listing, pass: Pass): void {
    // A directory that vanished between its parent's listing and its own is its parent's business.
    if ((errno === ENOENT || errno === ENOTDIR) && path !== ROOT) return void pass.result.missed.push(path);
    if (path === ROOT) throw rootUnreadable(errno);
    pass.result.problems.push(unreadable(path, errno));
    markIncomplete(this.#parts.store, path);
  }

  /** What a worker sees of single names, or of whole directories. */
  async #look(dirs: LookedAt[], as: {lane?: 0 | 1; isBrief?: boolean} = {}): Promise<Iterable<Listing>> {
    const [{rules}, {lane = 0, isBrief = false}] = [this.#options, as];
    return readMapped(await this.#parts.jobs.run('scan-names', {dirs, rules, isBrief}, {lane}), this.#ids);
  }
}
