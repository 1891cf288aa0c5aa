/**
 * The log: JSON lines for whoever runs Towline, on one file descriptor. Not what people are told (that is `cli`).
 *
 * Most runs log nothing, and pino takes 20 ms to load, so it is loaded only when a level asks for it.
 * Invariant: a log line never holds a raw control character: names go through `showPath`, pino escapes the rest.
 */

/** Fields of a line beside its message. Names and paths go through `showPath` first. */
export type LogFields = Record<string, string | number | boolean | undefined>;

export interface LogPort {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Drops everything, costs nothing. */
export const SILENT_LOG: LogPort = {debug: ignore, info: ignore, warn: ignore, error: ignore};

function ignore(): void {}

/**
 * A log that writes JSON lines at once (nothing is lost in a crash), with times in UTC.
 * @param options `level` is the least that is written, `fd` where to (2 is stderr)
 */
export async function openLog(options: {level: LogLevel; fd: number}): Promise<LogPort> {
  const {destination, pino, stdTimeFunctions} = await import('pino');
  const logger = pino(
    {level: options.level, base: null, timestamp: stdTimeFunctions.isoTime},
    destination({dest: options.fd, sync: true}),
  );
  return {
    debug: (message, fields = {}) => logger.debug(fields, message),
    info: (message, fields = {}) => logger.info(fields, message),
    warn: (message, fields = {}) => logger.warn(fields, message),
    error: (message, fields = {}) => logger.error(fields, message),
  };
}
