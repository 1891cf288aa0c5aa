/**
 * Runs once around all tests: removes what killed runs have left, and at the end what this run has left.
 */
import {removeRunFolders} from './run-folders.ts';

export default function setup(): () => void {
  removeRunFolders('dead-runs');
  return () => removeRunFolders('this-run');
}
