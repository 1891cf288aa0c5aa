/**
 * A program whose wall clock a test sets while it runs, by Debian's libfaketime: the clock that never goes back and the times
 * of files stay as they are.
 */
import {globSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';

const LIBRARIES = '/usr/lib/*/faketime/libfaketimeMT.so.1';

export class FakedClock {
  readonly #file: string;

  /** @param folder for a small file */
  constructor(folder: string) {
    this.#file = join(folder, 'clock');
    this.jumpTo('+0s');
  }

  /** @param offset to the true time, for instance `-3600s` */
  jumpTo(offset: string): void {
    writeFileSync(this.#file, `${offset}\n`);
  }

  /** What stands before the program. */
  get wrapper(): string[] {
    const [library = 'libfaketime is missing'] = globSync(LIBRARIES);
    const env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
    return ['env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
  }
}

const DAY_S = 86_400;

/** Jumps from the true time: an hour forth and back, to 2100 and to 1970. */
export function jumps(): Record<string, string> {
  const nowS = Math.floor(Date.now() / 1_000);
  return {
    'an hour forth': '+3600s',
    'an hour back': '-3600s',
    'to 2100': `+${4_102_444_800 - nowS}s`,
    'to 1970': `-${nowS - DAY_S}s`,
    'back to the true time': '+0s',
  };
}
