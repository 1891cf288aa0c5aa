/** All decoders of the lab, by name. */
import type {Decoder} from './decoder.ts';
import {STORED_DECODERS} from './stored.ts';
import {TEXT_DECODERS} from './texts.ts';
import {WIRE_DECODERS} from './wire.ts';

/** What a thread that attacks is given: all of them are read once. */
export const DECODERS: readonly Decoder[] = [...WIRE_DECODERS, ...STORED_DECODERS, ...TEXT_DECODERS];
