/** What all turns have found: figures, facts, words, command lines; and the table that shows them. */
import {median, quantile} from '../numbers.ts';
import {ATTRIBUTES} from './attributes.ts';
import {KINDS, type ToolName} from './kinds.ts';
import {FAILED} from './tool.ts';
import {RENAMED_FILES} from './tree.ts';
import type {Case, Found} from './turn.ts';

type Cell = number | string;
type Row = Record<string, Cell>;

const CELL_CHARS = 60;

/** True of the figures of every tool. */
const NOTES = [
  'first copy: Towline and Syncthing run and are connected before, and have it on the disk in the end; the others start with it',
  'memory: the sum of VmHWM over the processes of a tool that run at one time at that end, sampled; ssh and sshd do not count',
  'live: all changes of all runs; from the return of write(2) or rename(2) until it is seen on the target; least wait: the shortest that a tool can be set to',
];

export class Results {
  readonly #tools: readonly ToolName[];
  readonly #say: (sentence: string) => void;
  readonly #figures = new Map<string, number[]>();
  readonly #facts = new Map<string, boolean[]>();
  readonly #words = new Map<string, string>();
  readonly #failures = new Set<ToolName>();
  readonly #commands = new Map<ToolName, Set<string>>();

  constructor(tools: readonly ToolName[], say: (sentence: string) => void) {
    this.#tools = tools;
    this.#say = say;
  }

  /** Where one tool's turn puts what it finds. */
  of(tool: ToolName): Found {
    const note = <T>(into: Map<string, T[]>, row: string, value: T): void => {
      const key = `${row}/${tool}`;
      into.set(key, [...(into.get(key) ?? []), value]);
    };
    return {
      ms: (row, ms) => {
        note(this.#figures, row, ms);
        this.#say(`${tool}, ${row}: ${ms.toFixed(1)} ms`);
      },
      megabytes: (row, bytes) => note(this.#figures, row, bytes / 1e6),
      fact: (row, isTrue) => note(this.#facts, row, isTrue),
      words: (row, why) => {
        this.#words.set(`${row}/${tool}`, why);
        if (why.startsWith(FAILED)) this.#failures.add(tool);
        this.#say(`${tool}, ${row}: ${why}`);
      },
    };
  }

  record(tool: ToolName, text: string): void {
    const known = this.#commands.get(tool) ?? new Set();
    this.#commands.set(tool, known.add(text));
  }

  hasFailed(tool: ToolName): boolean {
    return this.#failures.has(tool);
  }

  rows(made: {cases: ReadonlySet<Case>; files: number; largeMiB: number}): Row[] {
    const {cases} = made;
    const one = (what: Case, title: string): Row[] => (cases.has(what) ? [this.#figure(title, what, median)] : []);
    const live = (what: Case, title: string): Row[] =>
      cases.has(what)
        ? [
            this.#figure(`${title}: median`, what, median),
            this.#figure(`${title}: worst`, what, (all) => quantile(all, 1)),
          ]
        : [];
    return [
      ...one('small', `first copy of ${made.files.toLocaleString('en')} × 4 KiB`),
      ...one('large', `first copy of ${made.largeMiB} MiB in one file`),
      ...live('change', 'one file changed, live'),
      ...live('hasty', 'one file changed, least wait'),
      ...one('rename', `a directory of ${RENAMED_FILES.toLocaleString('en')} files renamed, live`),
      ...one('restart', 'restart, nothing to do'),
      ...['source', 'target'].map((end) => this.#figure(`peak memory, ${end}, MB`, `memory ${end}`, median)),
      ...ATTRIBUTES.map((name) => this.#fact(`arrives: ${name}`, name)),
      this.#fact('equal bytes after all that', 'equal'),
    ];
  }

  notes(): string[] {
    const own = this.#tools.flatMap((name) => {
      const {version, notes} = KINDS[name];
      return notes().map((note) => `${name} ${version()}: ${note}`);
    });
    const failures = [...this.#words].filter(([, why]) => why.startsWith(FAILED)).map(([key, why]) => `${key} ${why}`);
    return [...NOTES, ...own, ...failures];
  }

  commands(): Record<string, string[]> {
    return Object.fromEntries([...this.#commands].map(([tool, texts]) => [tool, [...texts]]));
  }

  raw() {
    const [figures, facts, words] = [this.#figures, this.#facts, this.#words].map((map) =>
      Object.fromEntries<unknown>(map),
    );
    return {figures, facts, words};
  }

  #figure(title: string, key: string, of: (all: number[]) => number): Row {
    return this.#row(title, key, (all) => Math.round(of(all) * 10) / 10, this.#figures);
  }

  /** Yes is yes in every run. */
  #fact(title: string, key: string): Row {
    return this.#row(title, key, (all) => (all.every(Boolean) ? 'yes' : 'no'), this.#facts);
  }

  #row<T>(title: string, key: string, show: (all: T[]) => Cell, from: ReadonlyMap<string, T[]>): Row {
    const cells = this.#tools.map((tool): [string, Cell] => {
      const all = from.get(`${key}/${tool}`);
      const why = this.#words.get(`${key}/${tool}`);
      if (why !== undefined) return [tool, why.length > CELL_CHARS ? 'failed, see below' : why];
      return [tool, all === undefined ? 'not measured' : show(all)];
    });
    return {case: title, ...Object.fromEntries(cells)};
  }
}
