/**
 * The short IDs of both ends of `sync` in version vectors. Not identities: those are thrown away with the run, and the
 * state must know its own writes after years.
 */

export const SOURCE_AGENT = '0000000000000001';
export const TARGET_AGENT = '0000000000000002';
