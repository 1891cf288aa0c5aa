/** Writes at a steady pace beside whoever measures: small changes all over a tree, or a neighbour's stream of bytes. */
import {workerData} from 'node:worker_threads';
import {pace, type Pace, writeChange, writeNeighbour} from './pace.ts';

const data = workerData as Pace;
if (data.kind === 'changes') pace(data, (index) => writeChange(data, index));
else pace(data, (index) => writeNeighbour(data, index));
