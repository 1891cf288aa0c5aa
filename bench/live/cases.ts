/** Which cases `npm run bench -- live` has, in their order. */
import {besideLarge} from './beside-large.ts';
import type {Case} from './case.ts';
import {five} from './five.ts';
import {lines} from './lines.ts';
import {millionInOne, neighbour, rename} from './one-folder.ts';
import {pageInPlace} from './page-in-place.ts';
import {sparseMemory} from './sparse-memory.ts';
import {sustained} from './sustained.ts';

export const CASES = new Map<string, Case>([
  ['sustained', sustained],
  ['beside-large', besideLarge],
  ['five', five],
  ['million-in-one', millionInOne],
  ['neighbour', neighbour],
  ['page-in-place', pageInPlace],
  ['sparse-memory', sparseMemory],
  ['rename', rename],
  ['lines', lines],
]);
