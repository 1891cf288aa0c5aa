/**
 * Peers that look at a copy which they do not write to, each by a link of its own: sent away when the volume is closed.
 *
 * Invariant: when `sendAway` returns, nothing that worked for one is left.
 */
import {TowlineError} from '../base/errors.ts';
import type {LinkPort} from '../session/link-port.ts';
import {refusePort} from '../session/refusal.ts';

export class VolumeGuests {
  readonly #guests = new Map<LinkPort, Promise<void>>();

  /** @param look works on the copy until the link is closed */
  async take(port: LinkPort, look: () => Promise<void>): Promise<void> {
    const looked = look();
    this.#guests.set(port, looked);
    await looked.finally(() => this.#guests.delete(port));
  }

  async sendAway(reason: string): Promise<void> {
    const looked = [...this.#guests.values()];
    for (const port of this.#guests.keys()) refusePort(port, new TowlineError('CANCELLED', reason, {signal: 'stop'}));
    await Promise.allSettled(looked);
  }
}
