/**
 * A status that is watched: drawn over itself on a terminal, appended line by line elsewhere.
 *
 * Invariant: a terminal is left as it was found, with the last status on it.
 */
import type {AgentReport} from '../control/agent-api.ts';
import type {OutStream, ProcessSignals} from './parts.ts';
import {linkLine, peerLine, type StatusOptions, statusLines} from './status-lines.ts';
import type {Teller} from './teller.ts';
import {localTime, oneLine} from './text.ts';

// Source: XTerm Control Sequences. The second screen, no cursor, no wrapping; then the same backwards.
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l';
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE_END = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
// What is between them appears at once on terminals that know it; the others ignore it.
const FRAME_START = '\u001b[?2026h';
const FRAME_END = '\u001b[?2026l';
const ROWS = 24;

/** The whole status in place, each time in one write. */
export class RedrawingWatch {
  readonly #options: Omit<StatusOptions, 'columns'>;
  readonly #parts: {stdout: OutStream; signals: ProcessSignals; teller: Teller};
  readonly #onResize = (): void => this.#draw();
  #last: AgentReport | undefined;

  constructor(
    options: Omit<StatusOptions, 'columns'>,
    parts: {stdout: OutStream; signals: ProcessSignals; teller: Teller},
  ) {
    this.#options = options;
    this.#parts = parts;
  }

  show(report: AgentReport): void {
    if (this.#last === undefined) {
      this.#parts.stdout.write(ENTER);
      this.#parts.signals.on('SIGWINCH', this.#onResize);
    }
    this.#last = report;
    this.#draw();
  }

  close(): void {
    if (this.#last === undefined) return;
    this.#parts.signals.off('SIGWINCH', this.#onResize);
    this.#parts.stdout.write(LEAVE);
    for (const line of this.#lines(this.#last)) this.#parts.teller.line(line);
  }

  #draw(): void {
    if (this.#last === undefined) return;
    const {rows = ROWS} = this.#parts.stdout;
    const {teller} = this.#parts;
    const lines = this.#lines(this.#last);
    const foot = teller.paint(`${localTime(this.#last.nowMs)}, Ctrl-C ends`, 'dim');
    const room = rows - 2; // an empty line and the foot
    const isCut = lines.length > room;
    const shown = isCut ? lines.slice(0, room - 1) : lines;
    if (isCut) shown.push(`… and ${lines.length - shown.length} more lines: towline status VOLUME shows one volume`);
    const frame = [...shown, '', foot].map((line) => line + CLEAR_LINE_END).join('\r\n');
    this.#parts.stdout.write(`${FRAME_START}${HOME}${frame}${CLEAR_BELOW}${FRAME_END}`);
  }

  #lines(report: AgentReport): string[] {
    const {stdout, teller} = this.#parts;
    // Clearing to the end of a full line would take its last cell.
    return statusLines(report, {...this.#options, columns: stdout.columns - 1}).map((line) => teller.painted(line));
  }
}

/** A line whenever a link or a peer stands otherwise than before. */
export class AppendingWatch {
  readonly #teller: Teller;
  #told = new Map<string, string>();

  constructor(teller: Teller) {
    this.#teller = teller;
  }

  show(report: AgentReport): void {
    const lines = new Map<string, string>();
    for (const peer of report.peers) lines.set(`peer ${peer.name}`, peerLine(peer));
    for (const volume of report.volumes) {
      const why = volume.halt?.message ?? volume.reason ?? (volume.links.length === 0 ? 'no links' : undefined);
      if (why !== undefined) lines.set(`volume ${volume.name}`, `${oneLine(volume.name)}: ${oneLine(why)}`);
      for (const notice of volume.notices) lines.set(`notice ${notice}`, `${oneLine(volume.name)}: ${oneLine(notice)}`);
      for (const link of volume.links) lines.set(`link ${volume.name} ${link.direction} ${link.peer}`, linkLine(link));
    }
    for (const [key, line] of lines) {
      if (this.#told.get(key) !== line) this.#teller.line(`${localTime(report.nowMs)}  ${line}`);
    }
    this.#told = lines;
  }

  close(): void {}
}
