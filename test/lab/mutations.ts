/**
 * Chance that gives the same run for the same seed, and changes of valid inputs that decoders are attacked with.
 *
 * Inputs are changed where formats break: fields get values at their edges, lengths and counts among them; two inputs
 * are spliced; words that mean something are put where they are not expected.
 */

export type Random = (below: number) => number;

/** Mulberry32 by Tommy Ettinger: small, and the same run for the same seed. */
export function randomOf(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export function pick<T>(items: readonly T[], random: Random): T {
  return items[random(items.length)] as T;
}

/** Values at which fields break. */
const EDGES = [
  0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0xfff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x20_0000, 0x7fff_ffff,
  0x8000_0000, 0xffff_ffff,
];
const EDGES_64 = ['0000000000000000', '001fffffffffffff', '0020000000000000', '7fffffffffffffff', '8000000000000000'];
const LONG_BYTES = 5_000;

export interface Material {
  corpus: readonly Buffer[];
  /** Bytes that mean something to the decoder. */
  words?: readonly Buffer[];
}

/** One input: a valid one, changed a few times, or now and then bytes of chance. */
export function mutated(material: Material, random: Random): Buffer {
  if (random(40) === 0) return noise(random(200), random);
  let bytes: Buffer = Buffer.from(pick(material.corpus, random));
  for (let left = 1 + random(random(4) === 0 ? 5 : 2); left > 0; left--) bytes = changed(bytes, material, random);
  return bytes;
}

function changed(bytes: Buffer, {corpus, words = []}: Material, random: Random): Buffer {
  const at = random(bytes.length + 1);
  const other = (): Buffer => pick(corpus, random);
  switch (random(12)) {
    case 0:
      if (at < bytes.length) bytes[at] = random(256);
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at]! ^= 1 << random(8);
      return bytes;
    case 2:
      return withNumber(bytes, random);
    case 3:
      return withNumber(bytes, random);
    case 4:
      if (at + 8 <= bytes.length) bytes.write(pick(EDGES_64, random), at, 'hex');
      return bytes;
    case 5:
      return bytes.subarray(0, at);
    case 6: {
      const tail = other();
      return Buffer.concat([bytes.subarray(0, at), tail.subarray(random(tail.length + 1))]);
    }
    case 7:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(40)))]);
    case 8:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random(20)))]);
    case 9:
      return Buffer.concat([bytes.subarray(0, at), noise(1 + random(8), random), bytes.subarray(at)]);
    case 10:
      if (random(50) > 0) return withNumber(bytes, random);
      return Buffer.concat([bytes.subarray(0, at), repeated(bytes, at, random), bytes.subarray(at)]);
    default:
      if (words.length === 0) return withNumber(bytes, random);
      return Buffer.concat([bytes.subarray(0, at), pick(words, random), bytes.subarray(at + random(2) * random(8))]);
  }
}

/** A field of one to four bytes, in either order of bytes, with a value at an edge, or a little more or less. */
function withNumber(bytes: Buffer, random: Random): Buffer {
  const sizeBytes = pick([1, 2, 4], random);
  if (bytes.length < sizeBytes) return bytes;
  const at = random(bytes.length - sizeBytes + 1);
  const isLittle = random(4) === 0;
  const before = isLittle ? bytes.readUIntLE(at, sizeBytes) : bytes.readUIntBE(at, sizeBytes);
  const value = random(3) === 0 ? before + random(5) - 2 : pick(EDGES, random);
  const fitting = ((value % 2 ** (8 * sizeBytes)) + 2 ** (8 * sizeBytes)) % 2 ** (8 * sizeBytes);
  if (isLittle) bytes.writeUIntLE(fitting, at, sizeBytes);
  else bytes.writeUIntBE(fitting, at, sizeBytes);
  return bytes;
}

/** A few bytes again and again, up to some thousand. */
function repeated(bytes: Buffer, at: number, random: Random): Buffer {
  const piece = bytes.subarray(at, at + 1 + random(6));
  return piece.length === 0 ? Buffer.alloc(0) : Buffer.alloc(random(LONG_BYTES), piece);
}

function noise(sizeBytes: number, random: Random): Buffer {
  const bytes = Buffer.allocUnsafe(sizeBytes);
  for (let at = 0; at < sizeBytes; at++) bytes[at] = random(3) === 0 ? 0 : random(256);
  return bytes;
}

const JSON_EDGES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  0.5,
  1e308,
  2 ** 53,
  '',
  '0',
  '\0',
  '\ud800',
  '/',
  '..',
  'x'.repeat(5_000),
  [],
  {},
  [[]],
  [null],
  {__proto__: null, constructor: 1},
  JSON.parse('{"__proto__":{"x":1}}'),
];

/** A JSON text with some of its values exchanged for others, or its bytes changed. */
export function mutatedJson(material: Material, random: Random): Buffer {
  if (random(4) === 0) return mutated(material, random);
  if (random(60) === 0) return deep(random);
  const value = JSON.parse(pick(material.corpus, random).toString()) as unknown;
  return Buffer.from(JSON.stringify(exchanged(value, random, 3)));
}

/** Values in values, deeper than a stack that is built by recursion. */
export function deep(random: Random): Buffer {
  const depth = pick([10, 1_000, 20_000], random);
  const isMap = random(2) === 0;
  return Buffer.from(
    (isMap ? '{"volume":' : '[').repeat(depth) + (isMap ? '1' : '') + (isMap ? '}' : ']').repeat(depth),
  );
}

function exchanged(value: unknown, random: Random, oneIn: number): unknown {
  if (random(oneIn * 4) === 0) return pick(JSON_EDGES, random);
  if (Array.isArray(value)) return value.map((item) => exchanged(item, random, oneIn));
  if (typeof value !== 'object' || value === null) return random(oneIn) === 0 ? pick(JSON_EDGES, random) : value;
  const fields = Object.entries(value).filter(() => random(12) > 0);
  const kept = fields.map(([key, inner]) => [random(30) === 0 ? `${key}x` : key, exchanged(inner, random, oneIn)]);
  if (random(20) === 0) kept.push([pick(['__proto__', 'constructor', 'x'], random), pick(JSON_EDGES, random)]);
  return Object.fromEntries(kept);
}
