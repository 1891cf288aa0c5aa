/**
 * One YAML text as plain values, and where each of them stands. Knows YAML, not what the keys mean.
 *
 * Every scalar stays the text that was written (`yes`, `0123` and `1e5` are no surprise); a key without a value is as if
 * it were not there. Invariant: an alias is followed only within a budget, so a small text cannot become a large value.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit as visitNodes,
  type Alias,
  type Document,
  type ParsedNode,
  type Scalar,
  type YAMLError,
} from 'yaml';

/** Keys of maps and indexes of lists, from the top. */
export type KeyPath = readonly PropertyKey[];

/** Something wrong at a place of a file; `allowed` and `found` are part of the sentence. */
export interface Fault {
  file: string;
  /** From 1; 0 when it is about the file itself. */
  line: number;
  column: number;
  /** `volumes.pgdata.send[1].to`, '' at the top. */
  key: string;
  sentence: string;
}

export type PlainValue = string | PlainValue[] | {[key: string]: PlainValue | undefined} | undefined;

const NODES_MAX = 200_000; // 1,000 volumes with 100 keys each, twice
const DEPTH_MAX = 32;

export class YamlSource {
  readonly file: string;
  readonly value: PlainValue;
  /** What is wrong with the text itself; then `value` is undefined. */
  readonly faults: readonly Fault[];
  readonly #document: Document.Parsed | undefined;
  readonly #lines = new LineCounter();
  #aliases: ReadonlyMap<Alias, ParsedNode> = new Map();

  constructor(file: string, text: string) {
    this.file = file;
    try {
      this.#document = parseDocument(text, {
        schema: 'failsafe',
        stringKeys: true,
        prettyErrors: false,
        lineCounter: this.#lines,
      });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.faults = [this.#fault(undefined, '', 'is nested too deeply')];
      return;
    }
    const {errors, warnings} = this.#document;
    // One slip makes several errors at one place: the first says what it was.
    const firsts = new Map([...errors, ...warnings].toReversed().map((error) => [error.pos[0], error]));
    this.faults = [...firsts.values()].reverse().map((error) => this.#fault(error.pos[0], '', yamlSentence(error)));
    if (this.faults.length > 0) return;
    try {
      this.#aliases = aliasesOf(this.#document);
      this.value = plainOf(this.#document, this.#aliases);
    } catch (error) {
      if (error instanceof TooMuch) this.faults = [this.#fault(error.offset, '', error.message)];
      else if (error instanceof RangeError) this.faults = [this.#fault(undefined, '', 'is nested too deeply')];
      else throw error;
    }
  }

  /** A fault at a value, or at the nearest thing around it that stands in the text. */
  faultAt(path: KeyPath, sentence: string): Fault {
    return this.#fault(this.#offsetOf(path, false), showKey(path), sentence);
  }

  /** A fault at a key itself. */
  faultAtKey(path: KeyPath, sentence: string): Fault {
    return this.#fault(this.#offsetOf(path, true), showKey(path), sentence);
  }

  /** Where a key stands, from 1; undefined when it does not. */
  lineOfKey(path: KeyPath): number | undefined {
    const isThere = path.every((_, index) => valueAt(this.value, path.slice(0, index + 1)) !== undefined);
    const offset = isThere ? this.#offsetOf(path, true) : undefined;
    return offset === undefined ? undefined : this.#lines.linePos(offset).line;
  }

  #fault(offset: number | undefined, key: string, sentence: string): Fault {
    const {line, col} = offset === undefined ? {line: 0, col: 0} : this.#lines.linePos(offset);
    return {file: this.file, line, column: col, key, sentence};
  }

  #offsetOf(path: KeyPath, isOfKey: boolean): number | undefined {
    let node = this.#document?.contents ?? null;
    let offset = startOf(node);
    for (const [index, part] of path.entries()) {
      if (isAlias(node)) node = this.#aliases.get(node) ?? null;
      if (isSeq(node)) {
        node = node.items[Number(part)] ?? null;
        offset = startOf(node) ?? offset;
      } else if (isMap(node)) {
        const pair = node.items.find(({key}) => keyOf(key) === part);
        if (pair === undefined) return offset;
        node = pair.value;
        const isAtKey = (isOfKey && index === path.length - 1) || isEmpty(node);
        offset = (isAtKey ? undefined : startOf(node)) ?? startOf(pair.key) ?? offset;
      } else {
        return offset;
      }
    }
    return offset;
  }
}

/** What stands at a path of a plain value. */
export function valueAt(value: PlainValue, path: KeyPath): PlainValue {
  let found = value;
  for (const part of path) {
    if (typeof found !== 'object') return undefined;
    found = (found as Record<PropertyKey, PlainValue>)[part];
  }
  return found;
}

/** `volumes.pgdata.send[1].to`; keys that hold anything else than letters, digits, _ and - in quotes. */
export function showKey(path: KeyPath): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      const text = String(part);
      const shown = /^[\w-]{1,100}$/.test(text) ? text : JSON.stringify(text.slice(0, 100));
      return index === 0 ? shown : `.${shown}`;
    })
    .join('');
}

class TooMuch extends Error {
  readonly offset: number | undefined;
  constructor(offset: number | undefined, sentence: string) {
    super(sentence);
    this.offset = offset;
  }
}

/** What each alias stands for; the library looks through the whole text for each of them. */
function aliasesOf(document: Document.Parsed): Map<Alias, ParsedNode> {
  const anchored = new Map<string, ParsedNode>();
  const aliases = new Map<Alias, ParsedNode>();
  visitNodes(document, {
    Node: (_, node) => {
      if (isAlias(node)) {
        const meant = anchored.get(node.source);
        if (meant !== undefined) aliases.set(node, meant);
      } else if (node.anchor !== undefined) anchored.set(node.anchor, node as ParsedNode);
    },
  });
  return aliases;
}

function plainOf(document: Document.Parsed, aliases: ReadonlyMap<Alias, ParsedNode>): PlainValue {
  let nodesLeft = NODES_MAX;
  const visit = (node: ParsedNode | null, depth: number): PlainValue => {
    if (nodesLeft-- === 0) throw new TooMuch(startOf(node), `holds more than ${NODES_MAX} values, aliases followed`);
    if (depth > DEPTH_MAX) throw new TooMuch(startOf(node), `is nested deeper than ${DEPTH_MAX} levels`);
    if (isAlias(node)) return visit(aliases.get(node) ?? null, depth + 1);
    if (isSeq(node)) return node.items.map((item) => visit(item, depth + 1));
    if (isMap(node)) {
      const map = Object.create(null) as Record<string, PlainValue>; // a key may be called __proto__
      for (const {key, value} of node.items) {
        const plain = visit(value, depth + 1);
        if (plain !== undefined) map[keyOf(key)] = plain;
      }
      return map;
    }
    return node === null || isEmpty(node) ? undefined : String((node as Scalar).value);
  };
  return visit(document.contents, 0);
}

function keyOf(key: ParsedNode): string {
  return isScalar(key) ? String(key.value) : '';
}

/** Nothing written, as opposed to an empty text in quotes. */
function isEmpty(node: ParsedNode | null): boolean {
  return node === null || (isScalar(node) && node.value === '' && node.type === 'PLAIN');
}

function startOf(node: ParsedNode | null): number | undefined {
  return node?.range[0];
}

/** The library's sentence without what only its callers understand. */
function yamlSentence({code, message}: YAMLError): string {
  if (code === 'DUPLICATE_KEY') return 'this key stands here twice; write it once';
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here; write one';
  if (code === 'RESOURCE_EXHAUSTION') return 'is nested too deeply';
  return `is not YAML: ${message.split('\n')[0]} (a text with [ ] { } : # or * in it needs quotes)`;
}
