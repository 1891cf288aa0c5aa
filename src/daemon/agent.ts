/**
 * The agent's own daemon is not in this version of the tree; the commands that need none work.
 */
import {TowlineError} from '../base/errors.ts';

export function runAgent(): Promise<never> {
  return missing();
}

export function onceStandalone(): Promise<never> {
  return missing();
}

function missing(): Promise<never> {
  const hint = 'use towline sync SRC DST';
  return Promise.reject(new TowlineError('USAGE', `towline agent comes with the daemon; ${hint}`, {hint}));
}
