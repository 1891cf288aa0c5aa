/**
 * Reads what the rules of test/architecture.test.ts are about from one source text: its imports in every form, the
 * length of its functions and tables, the globals it uses, the tests it switches off. Pure; the rules are not here.
 *
 * Invariant: a text that does not parse throws, so that no file passes because it was not understood.
 */
import {parseSync} from 'rolldown/utils';

export interface ImportFact {
  /** What is imported as written, or undefined when it is computed at run time. */
  specifier: string | undefined;
  /** The names taken, as the other module calls them; `*` for all of it. */
  names: string[];
  line: number;
}

export interface FunctionFact {
  name: string;
  line: number;
  lineCount: number;
  /** The body of a `describe`, or a shared suite (`describeVolumeContract`): a list of tests, read one by one. */
  isSuite: boolean;
}

export interface NameFact {
  name: string;
  line: number;
}

export interface SourceFacts {
  imports: ImportFact[];
  /** What the file itself makes and gives to others, with types. */
  exports: NameFact[];
  functions: FunctionFact[];
  /** Lines of the file without its tables: literals at the top level that hold no function. */
  lineCount: number;
  /** Every name used as a value, and `object.property` where both are plain names. */
  values: NameFact[];
  /** `test.skip`, `describe.only`, `needsRoot(test).todo`, `{skip: true}` and their like. */
  switchedOff: NameFact[];
  /** `export * from`, and files that consist of nothing but re-exports. */
  isBarrel: boolean;
}

interface Node {
  type: string;
  start: number;
  end: number;
  [key: string]: unknown;
}

const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);
const SWITCHES = new Set(['skip', 'only', 'todo', 'skipIf', 'runIf']);
const TEST_NAME = /^(it|test|describe|suite|bench)$|(It|Test|Describe|Suite)$/;
/** Wrappers of TypeScript that stay in the program as the expression they hold. */
const TYPED_EXPRESSIONS = new Set([
  'TSAsExpression',
  'TSSatisfiesExpression',
  'TSNonNullExpression',
  'TSTypeAssertion',
]);

/**
 * @param path names the text in errors; its ending tells TypeScript from JavaScript
 * @throws Error when the text does not parse
 */
export function readSource(path: string, text: string): SourceFacts {
  const {program, errors} = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message ?? ''}`);
  const root = program as unknown as Node;
  const reader = new SourceReader(text);
  reader.visit(root, undefined, '');
  const body = childrenOf(root).map(({node}) => node);
  const tables = body.flatMap(tablesOf).map((table) => reader.lineCountOf(table));
  return {
    imports: reader.imports,
    exports: reader.exports,
    functions: reader.functions,
    lineCount: text.split('\n').length - (text.endsWith('\n') ? 1 : 0) - tables.reduce((sum, count) => sum + count, 0),
    values: reader.values,
    switchedOff: reader.switchedOff,
    isBarrel: isBarrel(body),
  };
}

class SourceReader {
  readonly imports: ImportFact[] = [];
  readonly exports: NameFact[] = [];
  readonly functions: FunctionFact[] = [];
  readonly values: NameFact[] = [];
  readonly switchedOff: NameFact[] = [];
  readonly #lineStarts: number[];

  constructor(text: string) {
    this.#lineStarts = [0, ...[...text.matchAll(/\n/g)].map(({index}) => index + 1)];
  }

  visit(node: Node, parent: Node | undefined, key: string): void {
    this.#readImport(node);
    if (node.type === 'ExportNamedDeclaration') this.#readExport(node);
    if (FUNCTIONS.has(node.type)) this.#readFunction(node, parent);
    if (node.type === 'Identifier' && isValue(parent, key)) this.#note(this.values, String(node['name']), node);
    if (node.type === 'MemberExpression') this.#readMember(node);
    if (node.type === 'CallExpression') this.#readCall(node);
    for (const child of childrenOf(node)) this.visit(child.node, node, child.key);
  }

  lineCountOf(node: Node): number {
    return this.#lineOf(node.end) - this.#lineOf(node.start) + 1;
  }

  #lineOf(offset: number): number {
    let low = 0;
    let high = this.#lineStarts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#lineStarts[middle] ?? Infinity) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  #note(facts: NameFact[], name: string, node: Node): void {
    facts.push({name, line: this.#lineOf(node.start)});
  }

  #readImport(node: Node): void {
    const source = importedBy(node);
    if (source === undefined) return;
    const specifiers = (node['specifiers'] ?? []) as Node[];
    const names = specifiers.map((specifier) =>
      specifier.type === 'ImportNamespaceSpecifier'
        ? '*'
        : (nameIn(specifier['imported'] ?? specifier['local']) ?? '*'),
    );
    this.imports.push({
      specifier: textOf(source),
      names: names.length > 0 ? names : ['*'],
      line: this.#lineOf(node.start),
    });
  }

  #readExport(node: Node): void {
    const declared = node['declaration'] as Node | null;
    const made = declared?.type === 'VariableDeclaration' ? (declared['declarations'] as Node[]) : [declared];
    for (const each of made) {
      const name = nameIn(each?.['id']);
      if (name !== undefined) this.#note(this.exports, name, node);
    }
  }

  #readFunction(node: Node, parent: Node | undefined): void {
    const name = nameIn(node['id']) ?? nameIn(parent?.['key']) ?? nameIn(parent?.['id']) ?? 'an unnamed function';
    const isBody = parent?.type === 'CallExpression' && /describe/i.test(rootNames(parent['callee']).join(' '));
    const isSuite = isBody || /^describe[A-Z]/.test(name);
    this.functions.push({name, line: this.#lineOf(node.start), lineCount: this.lineCountOf(node), isSuite});
  }

  #readMember(node: Node): void {
    const property = node['computed'] === true ? textOf(node['property']) : nameIn(node['property']);
    if (property === undefined) return;
    const object = nameIn(node['object']);
    if (object !== undefined) this.#note(this.values, `${object}.${property}`, node);
    const isTest = rootNames(node['object']).some((name) => TEST_NAME.test(name));
    if (SWITCHES.has(property) && isTest) this.#note(this.switchedOff, `.${property}`, node);
  }

  #readCall(node: Node): void {
    if (!rootNames(node['callee']).some((name) => TEST_NAME.test(name))) return;
    for (const argument of node['arguments'] as Node[]) {
      if (argument.type !== 'ObjectExpression') continue;
      for (const property of argument['properties'] as Node[]) {
        const name = nameIn(property['key']) ?? textOf(property['key']);
        if (name !== undefined && SWITCHES.has(name)) this.#note(this.switchedOff, `{${name}}`, property);
      }
    }
  }
}

/** What a node imports: a node with the specifier. Static, re-exported, dynamic, in a type, required, beside the file. */
function importedBy(node: Node): unknown {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ImportExpression':
    case 'TSImportType':
    case 'ExportAllDeclaration':
    case 'ExportNamedDeclaration':
      return node['source'] ?? undefined;
    case 'TSExternalModuleReference':
      return node['expression'];
    case 'CallExpression':
      return isCallOf(node, 'require') || isCallOf(node, 'resolve') ? (node['arguments'] as Node[])[0] : undefined;
    case 'NewExpression': {
      const [first, second] = node['arguments'] as Node[];
      const isBeside = nameIn(node['callee']) === 'URL' && isImportMeta(second);
      return isBeside || nameIn(node['callee']) === 'Worker' ? literalOnly(first, isBeside) : undefined;
    }
    default:
      return undefined;
  }
}

/** `new URL(x, import.meta.url)` counts whatever x is; `new Worker(x)` only with a path, as x may be such a URL. */
function literalOnly(node: Node | undefined, isBeside: boolean): Node | undefined {
  return isBeside || textOf(node) !== undefined ? node : undefined;
}

/** `require(…)`, and `import.meta.resolve(…)` or `require.resolve(…)`; not the `resolve(…)` of a promise. */
function isCallOf(node: Node, name: 'require' | 'resolve'): boolean {
  const callee = node['callee'] as Node;
  if (name === 'require') return nameIn(callee) === 'require';
  if (callee.type !== 'MemberExpression' || nameIn(callee['property']) !== 'resolve') return false;
  return nameIn(callee['object']) === 'require' || (callee['object'] as Node).type === 'MetaProperty';
}

function isImportMeta(node: Node | undefined): boolean {
  return node?.type === 'MemberExpression' && (node['object'] as Node).type === 'MetaProperty';
}

/** A string that is written out, as a literal or as a template without holes. */
function textOf(node: unknown): string | undefined {
  const {type, value, quasis, expressions} = (node ?? {}) as Record<string, unknown>;
  if (type === 'Literal' && typeof value === 'string') return value;
  if (type !== 'TemplateLiteral' || (expressions as unknown[]).length > 0) return undefined;
  return (quasis as {value: {cooked: string}}[])[0]?.value.cooked;
}

function nameIn(node: unknown): string | undefined {
  const {type, name} = (node ?? {}) as Record<string, unknown>;
  return type === 'Identifier' || type === 'PrivateIdentifier' ? String(name) : undefined;
}

/** The plain names that a chain of calls and members starts from: `needsRoot(test).each(…)` gives needsRoot and test. */
function rootNames(node: unknown): string[] {
  const {type, object, callee, arguments: args, tag} = (node ?? {}) as Record<string, unknown>;
  if (type === 'MemberExpression') return rootNames(object);
  if (type === 'TaggedTemplateExpression') return rootNames(tag);
  if (type === 'CallExpression')
    return [...rootNames(callee), ...(args as unknown[]).flatMap((arg) => nameIn(arg) ?? [])];
  return [nameIn(node) ?? []].flat();
}

/** Whether an identifier at this place stands for a value: not a key, a property, a label or a part of a type. */
function isValue(parent: Node | undefined, key: string): boolean {
  if (parent === undefined) return false;
  const {type} = parent;
  if (type === 'MemberExpression' && key === 'property') return parent['computed'] === true;
  if (type === 'Property' && key === 'key') return parent['computed'] === true || parent['shorthand'] === true;
  if (/^(Method|Property|Accessor)/.test(type) && key === 'key') return parent['computed'] === true;
  if (/^(Import|Export).*Specifier$/.test(type)) return key === 'local' && type.startsWith('Export');
  if (/^(Labeled|Break|Continue)Statement$/.test(type) || type === 'MetaProperty') return false;
  return !type.startsWith('TS') || TYPED_EXPRESSIONS.has(type);
}

function childrenOf(node: Node): {node: Node; key: string}[] {
  const children: {node: Node; key: string}[] = [];
  for (const [key, value] of Object.entries(node)) {
    for (const item of Array.isArray(value) ? value : [value]) if (isNode(item)) children.push({node: item, key});
  }
  return children;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as {type?: unknown}).type === 'string';
}

/** The literals of a top-level declaration that are tables: arrays and objects without a function in them. */
function tablesOf(statement: Node): Node[] {
  const declaration = statement.type === 'ExportNamedDeclaration' ? statement['declaration'] : statement;
  if (!isNode(declaration) || declaration.type !== 'VariableDeclaration') return [];
  return (declaration['declarations'] as Node[]).flatMap((declarator) => {
    let value = declarator['init'];
    while (isNode(value) && (TYPED_EXPRESSIONS.has(value.type) || /^(Call|New)Expression$/.test(value.type))) {
      value = value['expression'] ?? (value['arguments'] as Node[])[0]; // `… as const`, `new Map([…])`, `Object.freeze([…])`
    }
    return isNode(value) && /^(Array|Object)Expression$/.test(value.type) && !holdsFunction(value) ? [value] : [];
  });
}

function holdsFunction(node: Node): boolean {
  return FUNCTIONS.has(node.type) || childrenOf(node).some((child) => holdsFunction(child.node));
}

function isBarrel(body: readonly Node[]): boolean {
  const isReexport = (node: Node): boolean => node.type === 'ExportNamedDeclaration' && isNode(node['source']);
  return body.some((node) => node.type === 'ExportAllDeclaration') || (body.length > 0 && body.every(isReexport));
}
