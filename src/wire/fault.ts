/**
 * The error of a peer that broke the protocol, in one form. Not for our own mistakes: those are `BUG`.
 */
import {bug, TowlineError} from '../base/errors.ts';
import {showPath} from '../model/path.ts';

const SHOWN_CHARS_MAX = 120;

/**
 * @param where the message or step, for a person: "a batch"
 * @param rule what was checked, @param value what was found (control characters are escaped), @param limit what is allowed
 */
export function protocolFault(
  where: string,
  rule: string,
  value: string | number,
  limit: string | number,
): TowlineError<'PROTOCOL'> {
  const shown = typeof value === 'number' ? String(value) : showPath(shortened(value));
  return new TowlineError(
    'PROTOCOL',
    `the peer broke the protocol in ${where}: ${rule} is ${shown}, allowed: ${limit}`,
    {
      rule,
      value: shown,
      limit: String(limit),
    },
  );
}

function shortened(value: string): string {
  return value.length <= SHOWN_CHARS_MAX ? value : `${value.slice(0, SHOWN_CHARS_MAX)} and more`;
}

/** Our own side asks for what the format cannot say: a bug of the caller. */
export function encodeBug(what: string): TowlineError<'BUG'> {
  return bug(`cannot be put into a frame: ${what}`);
}
