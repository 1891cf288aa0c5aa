/**
 * Which boot of the machine this is.
 */
import {readFileSync} from 'node:fs';

/** The kernel's random name of this boot; '' where it cannot be read. Source: random(4). */
export function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}
