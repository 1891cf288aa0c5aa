/** Random changes of a small tree, the same for the same seed. */
import {appendFileSync, linkSync, mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';

/** Numbers below a limit, the same for the same seed (xorshift). */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed * 2_654_435_761;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

const NAMES = ['a', 'b', 'c', 'd'];

/**
 * One change somewhere in a tree of a few dozen paths; what is impossible there is left out.
 * @param what `files`: directories stay as they are, on three levels that are made when they are missing
 */
export function operate(root: string, random: (limit: number) => number, what: 'everything' | 'files'): void {
  const isFiles = what === 'files';
  const somewhere = (): string =>
    join(root, ...Array.from({length: isFiles ? 3 : 1 + random(4)}, () => NAMES[random(NAMES.length)] as string));
  const path = somewhere();
  const onFiles = [
    () => writeFileSync(path, String(random(1_000))),
    () => appendFileSync(path, 'more'),
    () => rmSync(path, {recursive: true}),
    () => renameSync(path, somewhere()),
    () => renameSync(path, somewhere()),
    () => linkSync(path, somewhere()),
    () => symlinkSync('a', path),
    () => utimesSync(path, random(1_000_000), random(1_000_000)),
  ];
  const operations = isFiles ? onFiles : [() => mkdirSync(path, {recursive: true}), () => mkdirSync(path), ...onFiles];
  try {
    operations[random(operations.length)]?.();
  } catch {
    if (isFiles) mkdirSync(dirname(path), {recursive: true});
    // else a file in the way, a name that is not there: the next one
  }
}
