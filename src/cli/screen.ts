/**
 * The two output streams and one transient line. Lines are gathered and written in blocks: a run may print 100,000.
 *
 * Invariant: what is written to stdout and stderr appears in the order of the calls, and the transient line is gone
 * before anything else is printed.
 */
import type {OutStream} from './parts.ts';

const BLOCK_CHARS = 16_384;
const CLEAR_LINE = '\r\u001b[2K';

export class Screen {
  readonly #stdout: OutStream;
  readonly #stderr: OutStream;
  #waiting: string[] = [];
  #waitingChars = 0;
  #isFlushDue = false;
  #isTransientShown = false;

  constructor(streams: {stdout: OutStream; stderr: OutStream}) {
    this.#stdout = streams.stdout;
    this.#stderr = streams.stderr;
  }

  /** Prints a line on stdout. */
  line(text: string): void {
    this.#waiting.push(text);
    this.#waitingChars += text.length;
    if (this.#waitingChars >= BLOCK_CHARS) return this.flush();
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    setImmediate(() => this.flush());
  }

  /** Prints a line on stderr. */
  note(text: string): void {
    this.flush();
    this.clear();
    this.#stderr.write(`${text}\n`);
  }

  /** Shows a line on the terminal of stderr in place of the one before; elsewhere prints it. */
  transient(text: string): void {
    this.flush();
    if (!this.#stderr.isTerminal) {
      this.#stderr.write(`${text}\n`);
      return;
    }
    this.#stderr.write(`${CLEAR_LINE}${text}`);
    this.#isTransientShown = true;
  }

  /** Removes the transient line. */
  clear(): void {
    if (!this.#isTransientShown) return;
    this.#stderr.write(CLEAR_LINE);
    this.#isTransientShown = false;
  }

  /** Writes what was gathered. */
  flush(): void {
    this.#isFlushDue = false;
    if (this.#waiting.length === 0) return;
    const block = `${this.#waiting.join('\n')}\n`;
    this.#waiting = [];
    this.#waitingChars = 0;
    this.clear();
    this.#stdout.write(block);
  }
}
