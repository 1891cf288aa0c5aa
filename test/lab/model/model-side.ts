/** One side of a link over a model filesystem: the real state and the real scanner. */
import {entryStore, sourceState} from '../../../src/daemon/source-state.ts';
import {isWithin, nameOf, parentOf, ROOT, type Name, type RelPath} from '../../../src/model/path.ts';
import type {Side} from '../../../src/model/tree.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import type {ScanResult} from '../../../src/scan/pass.ts';
import {Scanner} from '../../../src/scan/scanner.ts';
import {namesToLookAt} from '../../../src/session/linked-names.ts';
import type {SourceState} from '../../../src/session/source-link.ts';
import {openVolumeStore, type VolumeStore} from '../../../src/state/volume-store.ts';
import {contentOf, type ModelFs} from './model-fs.ts';
import {unreadIn} from '../../unit/state/state-fixture.ts';

const LOOKS_MAX = 6;
const RULES = {ignore: [], reserved: [], seed: Buffer.alloc(8)};

export function newStore(side: Side): VolumeStore {
  return openVolumeStore({place: ':memory:', side, view: PLAIN_VIEW, bootId: 'boot'});
}

export class ModelSide {
  readonly fs: ModelFs;
  readonly store: VolumeStore;
  readonly #scanner: Scanner;
  readonly #state: SourceState;

  /** @param store is emptied */
  constructor(fs: ModelFs, store: VolumeStore) {
    this.fs = fs;
    this.store = store;
    for (const {name} of [...store.children(store.root())]) store.remove(store.root(), name);
    store.setFingerprint(store.root(), undefined);
    this.#state = sourceState(store);
    const parts = {store: entryStore(store), jobs: fs.jobs()};
    this.#scanner = new Scanner({agent: '0000000000000001', rules: RULES}, parts);
  }

  /** Looks at everything, and reads what is new. */
  async scan(): Promise<ScanResult> {
    this.fs.touched.clear();
    const result = await this.#scanner.scan();
    this.#read();
    return result;
  }

  /** Looks at what was touched, again until nothing is in doubt. @returns one result for each look */
  async *looks(): AsyncGenerator<ScanResult> {
    const moves: {from: RelPath; to: RelPath}[] = [];
    for (let left = LOOKS_MAX; left > 0 && this.fs.touched.size > 0; left--) {
      const dirs = [...this.fs.touched].map(([path, names]) => ({
        path,
        names: names.has('/') ? undefined : ([...names] as Name[]),
      }));
      this.fs.touched.clear();
      const result = await this.#scanner.lookAt(dirs);
      this.#read();
      yield result;
      for (const path of namesToLookAt(result.changes, result, this.#state)) this.#touch(parentOf(path), nameOf(path));
      for (const change of result.changes) {
        if (change.kind === 'renamed' || change.kind === 'exchanged') moves.push({from: change.path, to: change.to});
        if (change.kind === 'exchanged') moves.push({from: change.to, to: change.path});
      }
      for (const missed of result.missed) {
        // What was told of a directory that was renamed since is looked for at its new path too.
        const moved = moves.filter(({from}) => isWithin(missed, from));
        for (const path of [missed, ...moved.map(({from, to}) => to + missed.slice(from.length))]) {
          if (this.store.dirIdOf(path) === undefined) continue;
          this.#touch(path, '/');
          if (path !== ROOT) this.#touch(parentOf(path), nameOf(path));
        }
      }
    }
  }

  #touch(dir: RelPath, name: Name): void {
    this.fs.touched.set(dir, (this.fs.touched.get(dir) ?? new Set()).add(name));
  }

  #read(): void {
    for (const {path, entry} of unreadIn(this.store)) {
      const inode = this.fs.find(path);
      if (inode?.type === 'file' && inode.ino === entry.ino) this.store.setContentOf(entry, contentOf(inode.value));
    }
  }
}
