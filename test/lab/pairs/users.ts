/**
 * Who else works on both trees: processes on the source, and somebody on the target whom the link does not know.
 *
 * Every version that is written holds words that no other has, so that whatever lies around afterwards tells whose it is.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {dirname, join} from 'node:path';
import type {World} from './world.ts';

export const PINS = ['pin0', 'pin1', 'pin2'];
const NAMES = ['a', 'b', 'c', 'd'];
const LARGE_BYTES = 100_000; // goes beside the batches
const STAMP_FIRST_S = 1_600_000_000;

export class Users {
  readonly #world: World;
  readonly #source: string;
  readonly #target: string;
  /** Contents of all versions, of both. */
  readonly #known = new Set<string>();
  /** What was written on the target by others, and not by them taken away again. */
  readonly #foreign = new Set<string>();
  readonly #versions = new Map<string, Set<string>>(PINS.map((pin) => [pin, new Set()]));
  #count = 0;
  changes = 0;

  constructor(world: World, {source, target}: {source: string; target: string}) {
    [this.#world, this.#source, this.#target] = [world, source, target];
    for (const pin of PINS) this.#write(source, pin, 's');
  }

  get foreignCount(): number {
    return this.#foreign.size;
  }

  /** A process on the source does something. */
  work(): void {
    const {random} = this.#world;
    const files = filesIn(this.#source);
    const free = files.filter((path) => !PINS.includes(path));
    const dirs = ['', ...dirsIn(this.#source)];
    const there = free[random(Math.max(1, free.length))];
    const place = join(dirs[random(dirs.length)] as string, NAMES[random(NAMES.length)] as string);
    this.changes++;
    switch (random(9)) {
      case 0:
        return this.#make(this.#source, place, 's', random(8) === 0 ? LARGE_BYTES : 30);
      case 1:
        return this.#make(this.#source, place, 's', 30);
      case 2:
        if (!existsSync(join(this.#source, place)) && dirs.length < 6) mkdirSync(join(this.#source, place));
        return this.#stamp(this.#source, place);
      case 3:
        return this.#write(this.#source, PINS[random(PINS.length)] as string, 's');
      case 4:
        return this.#replace(PINS[random(PINS.length)] as string);
      case 5:
        return there === undefined ? undefined : this.#write(this.#source, there, 's');
      case 6:
        return this.#rename(random(2) === 0 ? there : dirs[random(dirs.length)], place);
      case 7:
        return there === undefined ? undefined : this.#remove(this.#source, there);
      default:
        if (there === undefined) return undefined;
        chmodSync(join(this.#source, there), random(2) === 0 ? 0o600 : 0o644);
        return undefined;
    }
  }

  /** Somebody changes the target. */
  meddle(): void {
    const {random} = this.#world;
    const free = filesIn(this.#target).filter((path) => !PINS.includes(path));
    const dirs = ['', ...dirsIn(this.#target)];
    const there = free[random(Math.max(1, free.length))];
    this.changes++;
    if (there === undefined || random(3) === 0) {
      const place = join(dirs[random(dirs.length)] as string, [...NAMES, 'z'][random(NAMES.length + 1)] as string);
      this.#world.tell(`somebody makes ${place} on the target`);
      return this.#make(this.#target, place, 'f', 30);
    }
    this.#world.tell(`somebody writes or removes ${there} on the target`);
    this.#foreign.delete(readFileSync(join(this.#target, there), 'utf8'));
    if (random(3) === 0) this.#remove(this.#target, there);
    else this.#write(this.#target, there, 'f');
  }

  /** What is on the target now: each file a whole version, and a file that is always there is there. */
  faultNow(hasArrived: boolean): string | undefined {
    for (const pin of PINS) {
      const path = join(this.#target, pin);
      if (!existsSync(path)) {
        if (hasArrived) return `${pin} is missing on the target`;
      } else if (!this.#versions.get(pin)!.has(readFileSync(path, 'utf8'))) return `${pin} is no version of it`;
    }
    return undefined;
  }

  /** When everything is quiet and said to be equal. */
  faultAtRest(trash: string): string | undefined {
    const [ours, theirs] = [shownTree(this.#source), shownTree(this.#target)];
    if (ours !== theirs) return `the trees are not equal:\n${ours}\n--\n${theirs}`;
    for (const path of filesIn(this.#target))
      if (!this.#known.has(readFileSync(join(this.#target, path), 'utf8'))) return `${path} is no whole version`;
    const kept = new Set(filesIn(trash).map((path) => readFileSync(join(trash, path), 'utf8')));
    const lost = [...this.#foreign].filter((content) => !kept.has(content));
    return lost.length === 0 ? undefined : `versions of others are neither there nor in the trash: ${lost.join('')}`;
  }

  #content(who: 's' | 'f', sizeBytes: number): string {
    const line = `${who}${++this.#count}\n`;
    this.#world.tell(`writing ${line.trim()}`);
    const content = line.repeat(Math.ceil(sizeBytes / line.length));
    this.#known.add(content);
    if (who === 'f') this.#foreign.add(content);
    return content;
  }

  #write(root: string, path: string, who: 's' | 'f'): void {
    const content = this.#content(who, 20 + (this.#count % 2));
    this.#versions.get(path)?.add(content);
    writeFileSync(join(root, path), content);
    this.#stamp(root, path);
  }

  #make(root: string, path: string, who: 's' | 'f', sizeBytes: number): void {
    if (existsSync(join(root, path))) return;
    writeFileSync(join(root, path), this.#content(who, sizeBytes));
    this.#stamp(root, path);
  }

  #replace(path: string): void {
    this.#write(this.#source, `${path}.new`, 's');
    this.#versions.get(path)!.add(readFileSync(join(this.#source, `${path}.new`), 'utf8'));
    renameSync(join(this.#source, `${path}.new`), join(this.#source, path));
    this.#stamp(this.#source, path);
  }

  #rename(from: string | undefined, to: string): void {
    if (from === undefined || from === '' || existsSync(join(this.#source, to)) || `${to}/`.startsWith(`${from}/`))
      return;
    renameSync(join(this.#source, from), join(this.#source, to));
    this.#stamp(this.#source, from);
    this.#stamp(this.#source, to);
  }

  #remove(root: string, path: string): void {
    rmSync(join(root, path));
    this.#stamp(root, path);
  }

  /** Times of our own: those of the kernel differ from run to run, and are the same within a tick. */
  #stamp(root: string, path: string): void {
    const at = STAMP_FIRST_S + ++this.#count;
    for (const each of [join(root, path), dirname(join(root, path))]) if (existsSync(each)) utimesSync(each, at, at);
  }
}

export function filesIn(root: string): string[] {
  return walk(root).filter((path) => statSync(join(root, path)).isFile());
}

function dirsIn(root: string): string[] {
  return walk(root).filter((path) => statSync(join(root, path)).isDirectory());
}

function walk(root: string): string[] {
  return (readdirSync(root, {recursive: true}) as string[]).sort();
}

function shownTree(root: string): string {
  return walk(root)
    .map((path) => {
      const stat = statSync(join(root, path));
      const what = stat.isFile() ? readFileSync(join(root, path), 'utf8').slice(0, 12).split('\n')[0] : 'dir';
      return `${path} ${(stat.mode & 0o7777).toString(8)} ${stat.size * Number(stat.isFile())} ${stat.mtimeMs} ${what}`;
    })
    .join('\n');
}
