/**
 * Has a folder looked at by a child process, within a deadline: a hung mount keeps that process, not the diagnosis.
 */
import {fork} from 'node:child_process';
import {workerUrl} from '../../base/worker-url.ts';
import type {FolderFacts, FolderToProbe, TreeFacts} from './probe-folder.ts';

export interface ProbeRequest extends FolderToProbe {
  /** How long directories may be counted; 0: not at all. */
  countMs: number;
}

export type ProbeAnswer =
  {kind: 'facts'; facts: FolderFacts} | {kind: 'tree'; tree: TreeFacts} | {kind: 'fault'; fault: string};

export interface ExaminedFolder {
  facts: FolderFacts | undefined;
  /** Undefined when it was not counted. */
  tree: TreeFacts | undefined;
  /** Errno name; `TIMEOUT` when nothing was heard in time. */
  fault: string | undefined;
}

/** @param deadlineMs for all of it, the counting included */
export function examineFolder(request: ProbeRequest, deadlineMs: number): Promise<ExaminedFolder> {
  const found: ExaminedFolder = {facts: undefined, tree: undefined, fault: undefined};
  const child = fork(workerUrl(new URL('./probe.child.ts', import.meta.url)), {
    stdio: 'ignore',
    serialization: 'advanced',
  });
  return new Promise((resolve) => {
    const timer = setTimeout(() => end('TIMEOUT'), deadlineMs);
    const end = (fault: string): void => {
      clearTimeout(timer);
      if (found.facts === undefined) found.fault ??= fault;
      child.removeAllListeners();
      child.on('error', () => {});
      // One that sleeps in the kernel dies when the mount answers, or never: nobody waits for it.
      child.kill('SIGKILL');
      child.unref();
      if (child.connected) child.disconnect();
      resolve(found);
    };
    child.on('message', (answer: ProbeAnswer) => {
      if (answer.kind === 'facts') found.facts = answer.facts;
      else if (answer.kind === 'tree') found.tree = answer.tree;
      else found.fault = answer.fault;
    });
    child.on('error', (error) => end(error.message));
    child.on('exit', (code, signal) => end(`the probe ended with ${signal ?? code}`));
    child.send(request, (error) => {
      if (error !== null) end(error.message);
    });
  });
}
