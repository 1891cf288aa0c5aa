/**
 * What of a volume is halted and waits for its operator's word, and that word.
 *
 * Not a halt by epoch: which copy is the right one no count can say; promote and follow do. Invariant: what lies at the
 * root's place is taken for the root only when the operator says so.
 */
import {isTowlineError, TowlineError} from '../base/errors.ts';
import type {HaltReport} from '../control/agent-api.ts';
import {closeFd} from '../linux/open-fd.ts';
import {fromText} from '../model/path.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import {openRoot} from '../volume/root-identity.ts';
import type {AgentVolume} from './agent-volume.ts';
import {haltReport} from './link-figures.ts';

export interface WaitingHalt {
  /** Undefined: the volume's own. */
  peer: string | undefined;
  halt: HaltReport;
  notes: LinkNotes;
}

/** Halts that the operator can end here: the volume's own and its links'. @throws REFUSED where that takes a decision */
export function haltsOf(volume: AgentVolume): WaitingHalt[] {
  const decision = volume.decisionNeeded;
  if (decision !== undefined) throw new TowlineError('REFUSED', decision, {reason: 'epoch'});
  const links = [...volume.sends.map((send) => ({peer: send.config.to, notes: send.notes}))];
  if (volume.receive !== undefined) links.push({peer: volume.receive.from, notes: volume.receive.notes});
  return [{peer: undefined, notes: volume.notes}, ...links].flatMap(({peer, notes}) => {
    const halt = notes.haltOf();
    return halt === undefined ? [] : [{peer, halt: haltReport(halt), notes}];
  });
}

/** The operator's word: what is halted may go on. */
export function confirmHalts(volume: AgentVolume): void {
  for (const {peer, halt, notes} of haltsOf(volume)) {
    if (peer === undefined) acceptRoot(volume);
    else notes.confirm(halt.count);
    notes.clearHalt();
  }
  volume.wake();
}

/** What lies at the root's place now is the root. */
function acceptRoot(volume: AgentVolume): void {
  const {notes} = volume;
  const known = notes.rootIdentity();
  if (known === undefined) return;
  const {path} = volume.report();
  try {
    closeFd(openRoot(path === undefined ? known.path : fromText(path), known).fd);
  } catch (error) {
    if (!isTowlineError(error)) throw error;
    const isThere = error.code !== 'HALTED' || (error as TowlineError<'HALTED'>).details.kind !== 'root-missing';
    if (isThere) notes.forgetRoot();
  }
}
