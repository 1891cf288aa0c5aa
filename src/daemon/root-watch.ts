/**
 * Looks whether the root of an open volume is still the one that it was opened with: a mount over it, or its end, tells
 * no watch anything, and an engine may have made the volume anew.
 *
 * Opens nothing for good. Invariant: a root that is not the known one ends what works on it.
 */
import {isTowlineError, TowlineError} from '../base/errors.ts';
import {closeFd} from '../linux/open-fd.ts';
import type {Address} from '../model/address.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import {openRoot} from '../volume/root-identity.ts';
import type {AgentParts, FoundRoot} from './agent-parts.ts';

const MOUNT_POLL_MS = 2_000;

export class RootWatch {
  readonly #at: Address;
  readonly #found: FoundRoot;
  readonly #notes: LinkNotes;
  readonly #parts: Pick<AgentParts, 'mounts' | 'clock' | 'engines'>;

  constructor(
    options: {at: Address; found: FoundRoot; notes: LinkNotes},
    parts: Pick<AgentParts, 'mounts' | 'clock' | 'engines'>,
  ) {
    this.#at = options.at;
    this.#found = options.found;
    this.#notes = options.notes;
    this.#parts = parts;
  }

  /** The engine says that something changed: the address may lead elsewhere now. */
  async engineChanged(reopen: AbortController): Promise<void> {
    if (this.#at.kind === 'path') return;
    try {
      const now = await this.#parts.engines.findRoot(this.#at);
      if (now.path === this.#found.path) return this.#check(reopen);
      reopen.abort(new TowlineError('CANCELLED', 'the volume lies elsewhere now', {signal: 'moved'}));
    } catch (error) {
      if (isTowlineError(error) && error.code === 'ROOT_MISSING')
        reopen.abort(new TowlineError('CANCELLED', error.message, {signal: 'gone'}));
    }
  }

  /** Looks whenever the list of mounts is another one. @throws HALTED */
  async watchMounts(signal: AbortSignal): Promise<void> {
    let before = this.#parts.mounts();
    while (!signal.aborted) {
      await this.#parts.clock.sleep(MOUNT_POLL_MS, signal).catch(() => undefined);
      const now = this.#parts.mounts();
      if (now === before || signal.aborted) continue;
      before = now;
      this.#check(undefined);
    }
  }

  /** @throws HALTED when the root is not what it was, where there is nobody to be told otherwise */
  #check(reopen: AbortController | undefined): void {
    const known = this.#notes.rootIdentity();
    if (known === undefined) return;
    try {
      closeFd(openRoot(known.path, known).fd);
    } catch (error) {
      if (reopen === undefined) throw error;
      reopen.abort(error);
    }
  }
}
