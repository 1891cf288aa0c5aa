/**
 * Holds the sources to the structure of ARCHITECTURE.md: layers, owners of packages, purity, sizes, names.
 * Every rule is a function of (path, text), so that the control cases can feed it planted violations.
 */
import {readFileSync} from 'node:fs';
import {builtinModules} from 'node:module';
import {join, posix} from 'node:path';
import {describe, expect, test} from 'vitest';
import {readSource} from './source-facts.ts';
import {
  CODE_FOLDERS,
  FILE_LINES_MAX,
  FUNCTION_LINES_MAX,
  PROJECT,
  barrelRule,
  filesBelow,
  headerRule,
  nameRule,
  sizeRule,
  switchRule,
  textRule,
  unusedExports,
  type Rule,
} from './source-rules.ts';

/** Lowest first. A file imports from its own folder and from lower lines only; folders of one line are strangers. */
const LAYERS = [
  ['base'],
  ['model', 'telemetry'],
  ['delta', 'reconcile', 'wire'],
  ['config', 'linux', 'engine'],
  ['volume', 'watch', 'scan', 'state', 'transport', 'image'],
  ['apply'],
  ['session', 'snapshot'],
  ['migrate'],
  ['control'],
  ['http'],
  ['daemon'],
  ['cli'],
  ['main.ts'],
];

/** The one folder that may import a package; a package that is not here has no business in `src`. */
const OWNERS: Record<string, string> = {
  '@peculiar/x509': 'transport',
  chokidar: 'watch',
  commander: 'cli',
  koffi: 'linux',
  'node:sqlite': 'state',
  pino: 'telemetry',
  'reflect-metadata': 'transport',
  ws: 'transport',
  'xxhash-wasm': 'delta',
  yaml: 'config',
  zod: 'config',
};

/** Bytes and values in, bytes and values out: no files, sockets, clocks, randomness, process. */
const PURE_FOLDERS = ['delta', 'reconcile', 'wire'];
const PURE_MODULES = ['assert', 'assert/strict', 'buffer', 'crypto', 'util', 'zlib'].map((name) => `node:${name}`);
const IMPURE_GLOBALS = new Set(
  `process globalThis global require console performance Date Intl fetch WebSocket navigator crypto
   setTimeout setInterval setImmediate queueMicrotask clearTimeout clearInterval clearImmediate
   Worker MessageChannel BroadcastChannel`.split(/\s+/),
);
const IMPURE_MEMBERS = new Set('random randomBytes randomUUID randomInt randomFill randomFillSync'.split(' '));

/** The folder (or file) of a path below `src` that stands in LAYERS. */
function unitOf(path: string): string {
  return path.split('/')[1] ?? '';
}

function layerOf(unit: string): number {
  return LAYERS.findIndex((units) => units.includes(unit));
}

const isRelative = (specifier: string): boolean => /^\.{0,2}\//.test(specifier) || /^\.{1,2}$/.test(specifier);

const layerRule: Rule = (path, {imports}) => {
  const unit = unitOf(path);
  if (layerOf(unit) < 0) return [`${path}: ${unit} is in no layer`];
  return imports.flatMap(({specifier, line}) => {
    const at = `${path}:${line}`;
    if (specifier === undefined) return [`${at}: imports a computed path`];
    if (!isRelative(specifier)) return [];
    const target = posix.join(posix.dirname(path), specifier);
    if (target === 'package.json') return []; // the version
    if (!target.startsWith('src/')) return [`${at}: imports ${specifier} from outside of src`];
    const targetUnit = unitOf(target);
    if (layerOf(targetUnit) < 0) return [`${at}: imports ${targetUnit}, which is in no layer`];
    if (targetUnit === unit || layerOf(targetUnit) < layerOf(unit)) return [];
    const direction = layerOf(targetUnit) === layerOf(unit) ? 'sideways' : 'upward';
    return [`${at}: imports ${direction} from ${targetUnit}`];
  });
};

const ownerRule: Rule = (path, {imports}) =>
  imports.flatMap(({specifier, line}) => {
    if (specifier === undefined || isRelative(specifier)) return [];
    const name = specifier.startsWith('node:') ? specifier : packageOf(specifier);
    if (!name.startsWith('node:') && builtinModules.includes(name))
      return [`${path}:${line}: imports ${name} without node:`];
    const owner = OWNERS[name];
    if (owner === unitOf(path) || (owner === undefined && name.startsWith('node:'))) return [];
    return [`${path}:${line}: imports ${name}, which ${owner === undefined ? 'has no owner' : `belongs to ${owner}`}`];
  });

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

const purityRule: Rule = (path, {imports, values}) => {
  if (!PURE_FOLDERS.includes(unitOf(path))) return [];
  const imported = imports.flatMap(({specifier = '', names, line}) => {
    if (!specifier.startsWith('node:')) return [];
    const impure = PURE_MODULES.includes(specifier) ? names.filter((name) => IMPURE_MEMBERS.has(name)) : [specifier];
    return impure.map((name) => ({name, line}));
  });
  const used = values.filter(({name}) => {
    const [object = '', property] = name.split('.');
    return property === undefined ? IMPURE_GLOBALS.has(object) : IMPURE_MEMBERS.has(property);
  });
  return [...imported, ...used].map(({name, line}) => `${path}:${line}: uses ${name}, which is not pure`);
};

/** Imported as a whole where it is needed, and given to the command line by shape (src/cli/parts.ts). */
const GIVEN_WHOLE = ['agent', 'doctor', 'recover-agent', 'sync'].map((name) => `src/daemon/${name}.ts:`);

const files = filesBelow('').map((path) => ({path, text: readFileSync(join(PROJECT, path), 'utf8')}));
const sources = files
  .filter(({path}) => /\.(ts|js|mjs)$/.test(path) && CODE_FOLDERS.includes(path.split('/')[0] ?? ''))
  .map(({path, text}) => ({path, text, facts: readSource(path, text)}));
const program = sources.filter(({path}) => path.startsWith('src/'));

const lines = (count: number, line: string): string => `${line}\n`.repeat(count);

/** What a rule says about a planted text. */
function plant(rule: Rule, path: string, text: string): string[] {
  return rule(path, readSource(path, text));
}

test('the walk sees the sources: more than 15 files of src, this file, and all imports of this file', () => {
  expect(program.length).toBeGreaterThan(15);
  const own = sources.find(({path}) => path === 'test/architecture.test.ts');
  expect(own?.facts.imports.map(({specifier}) => specifier)).toEqual([
    'node:fs',
    'node:module',
    'node:path',
    'vitest',
    './source-facts.ts',
    './source-rules.ts',
  ]);
  expect(own?.facts.functions.map(({name}) => name)).toContain('packageOf');
});

test('a text that does not parse is an error, not a pass', () => {
  expect(() => readSource('src/base/a.ts', 'const = 1')).toThrow('src/base/a.ts does not parse');
});

describe('layers', () => {
  test('folders import from their own folder and from lower lines only', () => {
    expect(program.flatMap(({path, facts}) => layerRule(path, facts))).toEqual([]);
  });

  test.each([
    {form: 'from', text: "import {a} from '../apply/a.ts';", found: 'upward from apply'},
    {form: 'type', text: "import type {A} from '../apply/a.ts';", found: 'upward from apply'},
    {form: 'bare', text: "import '../apply/a.ts';", found: 'upward from apply'},
    {form: 're-export', text: "export {a} from '../apply/a.ts';", found: 'upward from apply'},
    {form: 'export all', text: "export * from '../apply/a.ts';", found: 'upward from apply'},
    {form: 'dynamic', text: "const a = await import('../apply/a.ts');", found: 'upward from apply'},
    {form: 'dynamic, template', text: 'const a = await import(`../apply/a.ts`);', found: 'upward from apply'},
    {form: 'in a type', text: "type A = import('../apply/a.ts').A;", found: 'upward from apply'},
    {form: 'require', text: "const a = require('../apply/a.ts');", found: 'upward from apply'},
    {form: 'import =', text: "import a = require('../apply/a.ts');", found: 'upward from apply'},
    {form: 'resolve', text: "import.meta.resolve('../apply/a.ts');", found: 'upward from apply'},
    {form: 'URL', text: "new URL('../apply/a.worker.ts', import.meta.url);", found: 'upward from apply'},
    {form: 'worker', text: "new Worker('../apply/a.worker.ts');", found: 'upward from apply'},
    {form: 'sideways', text: "import {a} from '../watch/a.ts';", found: 'sideways from watch'},
    {form: 'main', text: "import {a} from '../main.ts';", found: 'upward from main.ts'},
    {form: 'unknown', text: "import {a} from '../attic/a.ts';", found: 'attic, which is in no layer'},
    {form: 'computed', text: 'const a = await import(name);', found: 'a computed path'},
    {form: 'computed URL', text: 'new URL(name, import.meta.url);', found: 'a computed path'},
    {form: 'outside', text: "import {a} from '../../test/a.ts';", found: '../../test/a.ts from outside of src'},
  ])('a planted import is found: $form', ({text, found}) => {
    expect(plant(layerRule, 'src/scan/a.ts', text)).toEqual([`src/scan/a.ts:1: imports ${found}`]);
  });

  test('nested files are judged by their first folder, and an unknown folder is found', () => {
    expect(plant(layerRule, 'src/scan/deep/a.ts', "import '../../apply/a.ts';")).toHaveLength(1);
    expect(plant(layerRule, 'src/scan/deep/a.ts', "import '../b.ts'; import '../../base/a.ts';")).toEqual([]);
    expect(plant(layerRule, 'src/attic/a.ts', '')).toEqual(['src/attic/a.ts: attic is in no layer']);
    expect(plant(layerRule, 'src/loose.ts', '')).toEqual(['src/loose.ts: loose.ts is in no layer']);
  });
});

describe('packages', () => {
  test('each is imported by its owner only, and is a dependency', () => {
    expect(program.flatMap(({path, facts}) => ownerRule(path, facts))).toEqual([]);
    const {dependencies} = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as {dependencies: object};
    const imported = program.flatMap(({facts}) => facts.imports.map(({specifier = '.'}) => specifier));
    const packages = imported.filter((specifier) => !isRelative(specifier) && !specifier.startsWith('node:'));
    expect(Object.keys(dependencies)).toEqual(expect.arrayContaining(packages.map(packageOf)));
  });

  test.each([
    {text: "import chokidar from 'chokidar';", found: 'chokidar, which belongs to watch'},
    {text: "import type {WebSocket} from 'ws';", found: 'ws, which belongs to transport'},
    {text: "import koffi from 'koffi/indirect.js';", found: 'koffi, which belongs to linux'},
    {text: "import {X509Certificate} from '@peculiar/x509';", found: '@peculiar/x509, which belongs to transport'},
    {text: "const z = await import('zod');", found: 'zod, which belongs to config'},
    {text: "import {DatabaseSync} from 'node:sqlite';", found: 'node:sqlite, which belongs to state'},
    {text: "import _ from 'lodash';", found: 'lodash, which has no owner'},
    {text: "import fs from 'fs';", found: 'fs without node:'},
  ])('a planted import is found: $found', ({text, found}) => {
    expect(plant(ownerRule, 'src/scan/a.ts', text)).toEqual([`src/scan/a.ts:1: imports ${found}`]);
  });
});

describe('purity', () => {
  test('delta, reconcile and wire touch no file, socket, clock, process or chance', () => {
    expect(program.flatMap(({path, facts}) => purityRule(path, facts))).toEqual([]);
  });

  test.each([
    ...[
      'fs',
      'fs/promises',
      'net',
      'child_process',
      'worker_threads',
      'process',
      'timers/promises',
      'os',
      'dns',
      'http',
      'tls',
    ].map((name) => ({text: `import a from 'node:${name}';`, found: `node:${name}`})),
    {text: "import {randomBytes} from 'node:crypto';", found: 'randomBytes'},
    {text: 'const a = process.env;', found: 'process'},
    {text: 'const a = {process};', found: 'process'},
    {text: 'setTimeout(() => {}, 1);', found: 'setTimeout'},
    {text: 'const a = Date.now();', found: 'Date'},
    {text: 'const a = performance.now();', found: 'performance'},
    {text: 'const a = Math.random();', found: 'Math.random'},
    {text: "const a = globalThis['process'];", found: 'globalThis'},
    {text: "import * as c from 'node:crypto'; c.randomBytes(1);", found: 'c.randomBytes'},
  ])('a planted use is found: $text', ({text, found}) => {
    expect(plant(purityRule, 'src/wire/a.ts', text)).toContain(`src/wire/a.ts:1: uses ${found}, which is not pure`);
    expect(plant(purityRule, 'src/scan/a.ts', text)).toEqual([]);
  });

  test('hashing, types and properties of the same name are allowed', () => {
    const text =
      "import {createHash} from 'node:crypto'; import {crc32} from 'node:zlib'; const a = {process: 1}; type P = typeof process; a.process;";
    expect(plant(purityRule, 'src/wire/a.ts', text)).toEqual([]);
  });
});

describe('exports', () => {
  test('each is used by a source file', () => {
    const unused = unusedExports(program);
    expect(unused.filter((line) => !GIVEN_WHOLE.some((path) => line.startsWith(path)))).toEqual([]);
  });

  test('a planted one that nobody uses is found, and none that somebody does', () => {
    const planted = Object.entries({
      'src/base/a.ts': 'export const dead = 1; export function own() {} own(); export type T = 1; export class Star {}',
      'src/base/b.ts':
        "import type {T} from './a.ts'; import * as a from './a.ts'; export type Gone = T; new a.Star();",
    }).map(([path, text]) => ({path, text, facts: readSource(path, text)}));
    expect(unusedExports(planted)).toEqual([
      'src/base/a.ts:1: dead is used by no source file',
      'src/base/b.ts:1: Gone is used by no source file',
    ]);
  });
});

describe('sizes', () => {
  test(`no file has more than ${FILE_LINES_MAX} lines, no function more than ${FUNCTION_LINES_MAX}`, () => {
    expect(sources.flatMap(({path, facts}) => sizeRule(path, facts))).toEqual([]);
  });

  test.each([
    {title: 'a file of 401 lines', text: lines(401, 'a();'), found: 'src/a.ts: has 401 lines'},
    {
      title: 'a function of 71 lines',
      text: `function f() {\n${lines(69, 'a();')}}`,
      found: 'src/a.ts:1: f has 71 lines',
    },
    {
      title: 'an arrow of 71 lines',
      text: `const f = () => {\n${lines(69, 'a();')}};`,
      found: 'src/a.ts:1: f has 71 lines',
    },
    {
      title: 'a method of 71 lines',
      text: `class A {\nm() {\n${lines(69, 'a();')}}}`,
      found: 'src/a.ts:2: m has 71 lines',
    },
    {
      title: 'a table in a function',
      text: `function f() { return [\n${lines(69, '1,')}]}`,
      found: 'src/a.ts:1: f has 71 lines',
    },
    {
      title: 'a table with a function',
      text: `const T = [() => 1,\n${lines(400, '1,')}];`,
      found: 'src/a.ts: has 402 lines',
    },
  ])('is found: $title', ({text, found}) => {
    expect(plant(sizeRule, 'src/a.ts', text)).toEqual([expect.stringContaining(found)]);
  });

  test.each([
    {title: 'a file of 400 lines', text: lines(400, 'a();')},
    {title: 'a function of 70 lines', text: `function f() {\n${lines(68, 'a();')}}`},
    {title: 'a table of 500 lines', text: `export const T = new Map([\n${lines(500, '[1, 2],')}] as const);`},
    {title: 'a shared suite of 80 lines', text: `function describeVolumeContract() {\n${lines(78, 'a();')}}`},
    {title: 'a suite of 300 lines', text: `needsRoot(describe)('a', () => {\n${lines(300, 'a();')}});`},
  ])('is allowed: $title', ({text}) => {
    expect(plant(sizeRule, 'src/a.ts', text)).toEqual([]);
  });
});

describe('tests', () => {
  test('none is switched off', () => {
    expect(sources.flatMap(({path, facts}) => switchRule(path, facts))).toEqual([]);
  });

  test.each([
    {switched: 'skip', text: "test.skip('a', () => {});"},
    {switched: 'only', text: "describe.only('a', () => {});"},
    {switched: 'todo', text: "it.todo('a');"},
    {switched: 'skip', text: "test.concurrent.skip('a', () => {});"},
    {switched: 'skip', text: "needsRoot(test).skip('a', () => {});"},
    {switched: 'skipIf', text: "rootTest.skipIf(true)('a', () => {});"},
    {switched: 'only', text: "test['only']('a', () => {});"},
  ])('a planted switch is found: $text', ({switched, text}) => {
    expect(plant(switchRule, 'test/a.test.ts', text)).toEqual([expect.stringContaining(`.${switched}:`)]);
  });

  test('an option that switches off is found, a reader that skips bytes is not', () => {
    expect(plant(switchRule, 'test/a.test.ts', "test('a', {skip: true}, () => {});")).toHaveLength(1);
    expect(plant(switchRule, 'test/a.test.ts', "reader.skip(4); test('a', {timeout: 1}, () => {});")).toEqual([]);
  });
});

describe('texts', () => {
  test('no barrel, no vague name, a header on every source', () => {
    expect(program.flatMap(({path, facts}) => barrelRule(path, facts))).toEqual([]);
    expect(sources.flatMap(({path}) => nameRule(path))).toEqual([]);
    expect(program.flatMap(({path, text}) => headerRule(path, text))).toEqual([]);
  });

  test('no file names a path of the machine it was written on, or is unfinished', () => {
    expect(files.flatMap(({path, text}) => textRule(path, text))).toEqual([]);
  });

  test('planted texts are found', () => {
    expect(plant(barrelRule, 'src/base/a.ts', "export * from './b.ts';")).toHaveLength(1);
    expect(plant(barrelRule, 'src/base/a.ts', "export {b} from './b.ts'; export {c} from './c.ts';")).toHaveLength(1);
    expect(plant(barrelRule, 'src/base/a.ts', "export {b} from './b.ts'; export const c = 1;")).toEqual([]);
    expect(nameRule('src/base/utils.ts')).toHaveLength(1);
    expect(nameRule('src/helper/a.ts')).toHaveLength(1);
    expect(nameRule('src/base/volume-manager.ts')).toHaveLength(1);
    expect(nameRule('src/cli/common-options.ts')).toEqual([]);
    expect(headerRule('src/base/a.ts', "import './b.ts';")).toHaveLength(1);
    expect(textRule('README.md', `see ${['..', 'shared', 'A.md'].join('/')}`)).toHaveLength(1);
    for (const folder of ['home', 'root', 'work']) expect(textRule('a', `cd "/${folder}/me"`)).toHaveLength(1);
    expect(textRule('a', 'overlay/work/dir, ~/work/a, /homes/a')).toEqual([]);
    expect(textRule('a', `// ${['TO', 'DO'].join('')}: later`)).toHaveLength(1);
  });
});
