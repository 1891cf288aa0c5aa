/** What two agents said to each other, frame by frame, as a text of JSON lines. */
import {peek} from '../../src/wire/codec.ts';
import type {MessageKind} from '../../src/wire/messages.ts';

export type Side = 'source' | 'target';

export interface RecordedFrame {
  from: Side;
  kind: MessageKind;
  frame: Buffer;
}

export function readRecording(text: string): RecordedFrame[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const {from, frame: base64} = JSON.parse(line) as {from: Side; frame: string};
      const frame = Buffer.from(base64, 'base64');
      return {from, kind: peek(frame).kind, frame};
    });
}
