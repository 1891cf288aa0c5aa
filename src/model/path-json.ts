/**
 * Paths in lines of JSON: readable where they are, and with their bytes beside where that would lose something.
 *
 * Invariant: what was written is read back byte for byte; what is read is a path or nothing.
 */
import {bytesOf, fromBytes, fromText, relPathFault, showPath, type RelPath} from './path.ts';

/** The path as it is shown under `key`, and its bytes as base64 under `keyBytes` where that is not the path itself. */
export function pathToJson(key: string, path: RelPath): Record<string, string> {
  const shown = showPath(path);
  return fromText(shown) === path ? {[key]: shown} : {[key]: shown, [`${key}Bytes`]: bytesOf(path).toString('base64')};
}

/** @returns undefined when there is none that could be a path */
export function pathFromJson(key: string, fields: Readonly<Record<string, unknown>>): RelPath | undefined {
  const [shown, bytes] = [fields[key], fields[`${key}Bytes`]];
  let path: RelPath;
  if (typeof bytes === 'string') path = fromBytes(Buffer.from(bytes, 'base64'));
  else if (typeof shown === 'string') path = fromText(shown);
  else return undefined;
  return relPathFault(path) === undefined ? path : undefined;
}
