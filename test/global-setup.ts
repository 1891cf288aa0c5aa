/**
 * Runs once around all tests: removes what killed runs have left, and at the end what this run has left.
 */
import {removeRunNetworks} from './hosts/namespaces.ts';
import {removeRunFolders} from './run-folders.ts';

export default function setup(): () => void {
  removeRunNetworks('dead-runs');
  removeRunFolders('dead-runs');
  return () => {
    removeRunNetworks('this-run');
    removeRunFolders('this-run');
  };
}
