// Checks data in Thrift's compact protocol, which Parquet uses for its footer and page headers. hyparquet's parser allocates as much memory
// as a length claims, before it reads the data.
// Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

/** Maximum nesting depth of structs and lists. Valid footers need about ten. */
const MAX_DEPTH = 32;
/** Maximum size of a 64-bit varint. Parsing a longer one takes quadratic time. */
const MAX_VARINT = 10;
/** Maximum size of a length, a 32-bit varint. */
const MAX_LENGTH_VARINT = 5;

/** Approximate size of parsed values in memory, in bytes. */
const COST = { field: 64, struct: 192, element: 32, binary: 128 } as const;

// Type numbers. They are separate constants, because a switch over an object's properties would compare them one by one.
const STOP = 0;
const TRUE = 1;
const FALSE = 2;
const BYTE = 3;
const I16 = 4;
const I32 = 5;
const I64 = 6;
const DOUBLE = 7;
const BINARY = 8;
const LIST = 9;
const STRUCT = 12;

/** Locations in a checked struct. */
interface CheckedStruct {
  /** Offset after the struct. */
  end: number;
  /** Offset of each field by its number; of the first one if a number occurs several times. */
  fields: ReadonlyMap<number, number>;
}

/**
 * Walks a struct without parsing it. Checks that every list and text is within the bytes, and that the parsed struct fits in memory.
 * @param most approximate maximum size in memory, in bytes
 * @throws Error with the reason
 */
export function checkStruct(bytes: Uint8Array, start: number, most: number): CheckedStruct {
  const end = bytes.length;
  const fields = new Map<number, number>();
  let field = 0;
  let at = start;
  let cost: number = COST.struct;
  // The stack of open values: for a list, its element type and the number of remaining elements; for a struct, 0 and -1.
  const types = new Int32Array(MAX_DEPTH);
  const left = new Int32Array(MAX_DEPTH);
  left[0] = -1;
  let depth = 0;
  for (;;) {
    if (at >= end && left[depth] !== 0)
      throw new Error(`metadata that is cut off within a value, after ${end - start} bytes`);
    if (cost > most) throw new Error(`metadata that take more than ${Math.floor(most)} bytes of memory`);
    const isField = left[depth] === -1;
    let type = types[depth]!;
    if (isField) {
      const begin = at;
      const byte = bytes[at++]!;
      type = byte & 0x0f;
      if (type === STOP && depth === 0) return { end: at, fields };
      // The high four bits are the difference from the previous field's number. If they are 0, the number itself follows.
      if (type !== STOP && byte >> 4 === 0) at = afterNumber(bytes, at);
      if (depth === 0) {
        field = byte >> 4 === 0 ? smallNumber(bytes, begin + 1, at) : field + (byte >> 4);
        if (!fields.has(field)) fields.set(field, begin);
      }
      cost += COST.field;
    } else if (left[depth]! > 0) {
      left[depth]!--;
      cost += COST.element;
    } else type = STOP;
    switch (type) {
      case STOP:
        depth--;
        break;
      case TRUE:
      case FALSE:
        if (!isField) at++; // in a list, booleans are bytes
        break;
      case BYTE:
        at++;
        break;
      case I16:
      case I32:
      case I64:
        at = afterNumber(bytes, at);
        break;
      case DOUBLE:
        at += 8;
        break;
      case BINARY: {
        const begin = afterNumber(bytes, at);
        at = begin + lengthOf(bytes, at, begin, "a text");
        cost += COST.binary;
        break;
      }
      case LIST: {
        const byte = at < end ? bytes[at++]! : 0;
        let count = byte >> 4;
        if (count === 15) {
          const begin = afterNumber(bytes, at);
          count = lengthOf(bytes, at, begin, "a list");
          at = begin;
        }
        if (++depth === MAX_DEPTH) throw tooDeep();
        types[depth] = byte & 0x0f;
        left[depth] = count;
        break;
      }
      case STRUCT:
        if (++depth === MAX_DEPTH) throw tooDeep();
        types[depth] = STOP;
        left[depth] = -1;
        cost += COST.struct;
        break;
      default:
        throw new Error(`metadata with a value of type ${type}`);
    }
  }
}

/** Returns the offset after the varint that begins at `at`: the first byte below 128 is its last. @throws Error if it is too long */
export function afterNumber(bytes: Uint8Array, at: number): number {
  const last = at + MAX_VARINT - 1;
  while (bytes[at]! >= 0x80) if (at++ === last) throw new Error(`a number of more than ${MAX_VARINT} bytes`);
  return at + 1;
}

/** Decodes the varint in the bytes from `at` to `end`. Like hyparquet's, it wraps to 32 bits, so it may be negative. */
export function unsignedNumber(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = at; i < end; i++) value |= (bytes[i]! & 0x7f) << (7 * (i - at));
  return value;
}

/** Decodes the zigzag varint in the bytes from `at` to `end`. Its lowest bit is the sign. */
function smallNumber(bytes: Uint8Array, at: number, end: number): number {
  const value = unsignedNumber(bytes, at, end);
  return (value >>> 1) ^ -(value & 1);
}

/**
 * Returns the length in the bytes from `at` to `end`. It must not exceed the number of remaining bytes, because every
 * element takes at least one byte.
 */
function lengthOf(bytes: Uint8Array, at: number, end: number, what: string): number {
  if (end - at > MAX_LENGTH_VARINT) throw new Error(`metadata with a length of ${end - at} bytes`);
  const length = unsignedNumber(bytes, at, end);
  const left = bytes.length - end;
  if (length < 0 || length > left) throw new Error(`metadata with ${what} of length ${length >>> 0} in ${left} bytes`);
  return length;
}

function tooDeep(): Error {
  return new Error(`metadata nested more than ${MAX_DEPTH} deep`);
}
