/**
 * What a command says: lines for people, or objects for programs, never both.
 *
 * Invariant: with `--json` the last line is the result, and everything before it has an event's name.
 */
import {styleText} from 'node:util';
import {type CommonFlags, hasColour, verbosityOf} from './common-options.ts';
import {JsonView} from './json-view.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import type {Line} from './table.ts';

export type Colour = 'green' | 'yellow' | 'red' | 'cyan' | 'dim' | 'bold';

export class Teller {
  readonly #json: JsonView | undefined;
  readonly #screen: Screen;
  readonly #isQuiet: boolean;
  readonly hasColour: boolean;

  constructor(flags: CommonFlags, parts: CliParts & {screen: Screen}) {
    this.#json = flags.json === true ? new JsonView(parts) : undefined;
    this.#screen = parts.screen;
    this.#isQuiet = verbosityOf(flags) < 0;
    this.hasColour = hasColour(parts);
  }

  get isJson(): boolean {
    return this.#json !== undefined;
  }

  /** A line for people. */
  line(text: string, colour?: Colour): void {
    if (this.#json === undefined && !this.#isQuiet) this.#screen.line(this.paint(text, colour));
  }

  /** A line of coloured pieces for people. */
  spans(line: Line): void {
    this.line(this.painted(line));
  }

  /** An object for programs. */
  say(event: string, fields: Record<string, unknown>): void {
    this.#json?.say(event, fields);
  }

  /** The end of the command. @returns the exit code */
  result(exitCode: number, fields: Record<string, unknown> = {}): number {
    this.#json?.say('result', {exitCode, ...fields});
    return exitCode;
  }

  painted(line: Line): string {
    return line
      .map(({text, colour}) => this.paint(text, colour))
      .join('')
      .trimEnd();
  }

  paint(text: string, colour: Colour | undefined): string {
    return this.hasColour && colour !== undefined ? styleText(colour, text, {validateStream: false}) : text;
  }
}
