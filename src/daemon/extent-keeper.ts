/**
 * What a source's links share of the clones that are kept to tell what has changed in large files: has them looked after while
 * there are any, and says when its filesystem makes none.
 *
 * The clones themselves are a worker's (volume/kept-versions.ts). Invariant: while one may be kept, somebody looks every
 * few seconds whether its space is needed, and whether its file is still there.
 */
import {sleepUnless, type Clock} from '../base/clock.ts';
import type {JobRunner} from '../base/jobs.ts';
import type {ExtentsPort} from '../session/large-file.ts';
import type {TransferJobs} from '../volume/transfer-jobs.ts';

export interface ExtentKeeperOptions {
  /** See ExtentsPort. */
  reserveShare: number;
  /** Of the volume, as people name it. */
  rootPath: string;
}

export interface ExtentKeeperParts {
  jobs: JobRunner<Pick<TransferJobs, 'tend-kept'>>;
  clock: Clock;
  onNotice(message: string): void;
}

const TEND_MS = 5_000; // a program may write 10 GB meanwhile, of which the clones keep as much
const SLEEP_MS_MAX = 3_600_000; // within what a timer can hold

export class ExtentKeeper {
  readonly #options: ExtentKeeperOptions;
  readonly #parts: ExtentKeeperParts;
  #isRefused = false;
  #kept = Promise.withResolvers<void>();

  constructor(options: ExtentKeeperOptions, parts: ExtentKeeperParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** For a link. @param pauseMs between two clones of a file */
  port(pauseMs: number): ExtentsPort {
    return {
      reserveShare: this.#options.reserveShare,
      pauseMs,
      onKept: () => this.#kept.resolve(),
      onRefused: () => this.#refused(),
    };
  }

  /** Looks after what is kept until the signal is aborted. @throws what keeps the volume from being read */
  async run(signal: AbortSignal): Promise<void> {
    const {clock, jobs} = this.#parts;
    const {reserveShare} = this.#options;
    while (!signal.aborted) {
      this.#kept = Promise.withResolvers();
      await sleepUnless(clock, SLEEP_MS_MAX, {signal, woken: this.#kept.promise});
      for (let count = 1; count > 0 && !signal.aborted;) {
        await clock.sleep(TEND_MS, signal).catch(() => undefined);
        if (signal.aborted) return;
        count = await jobs.run('tend-kept', {reserveShare}, {lane: 1}).then(
          ({keptCount}) => keptCount,
          (error: unknown) => {
            if (!signal.aborted) throw error;
            return 0;
          },
        );
      }
    }
  }

  #refused(): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    const where = `the filesystem of ${this.#options.rootPath}`;
    this.#parts.onNotice(
      `extents: on does nothing here: ${where} does not clone files (XFS with reflinks and btrfs do), so that large files are read whole`,
    );
  }
}
