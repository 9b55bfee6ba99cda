// Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages, as far as it is there to be checked: the
// parser takes memory for what a length claims before it has read any of it.
// Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

/** Structs and lists within each other at most: Parquet's own take ten or so. */
const MAX_DEPTH = 32;
/** Bytes of a number of 64 bits at most. A parser that goes on takes time with their square. */
const MAX_VARINT = 10;
/** The same of a length, which has 32 bits. */
const MAX_LENGTH_VARINT = 5;

/** What the parser makes of them in memory, in bytes, about. */
const COST = { field: 64, struct: 192, element: 32, binary: 128 } as const;

// The numbers of types, each by itself: a switch over an object's properties would look at them one by one.
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

export interface CheckedStruct {
  /** Where it ends. */
  end: number;
  /** Where each of its own fields begins, by number; the first of several. */
  fields: ReadonlyMap<number, number>;
}

/**
 * Goes through a struct without making anything of it: that every list and text lies within the bytes, and that what a parser makes of
 * it has its place in memory.
 * @param most bytes of memory that it may take, about
 * @throws Error that says what is wrong
 */
export function checkStruct(bytes: Uint8Array, start: number, most: number): CheckedStruct {
  const end = bytes.length;
  const fields = new Map<number, number>();
  let field = 0;
  let at = start;
  let cost: number = COST.struct;
  // What is open: of a list its elements' type and how many are left, of a struct 0 and -1.
  const types = new Int32Array(MAX_DEPTH);
  const left = new Int32Array(MAX_DEPTH);
  left[0] = -1;
  let depth = 0;
  for (;;) {
    if (at >= end && left[depth] !== 0) throw new Error(`metadata that end within a value, after ${end - start} bytes`);
    if (cost > most) throw new Error(`metadata that take more than ${Math.floor(most)} bytes of memory`);
    const isField = left[depth] === -1;
    let type = types[depth]!;
    if (isField) {
      const begin = at;
      const byte = bytes[at++]!;
      type = byte & 0x0f;
      if (type === STOP && depth === 0) return { end: at, fields };
      // Where the number of the field is not in the byte, it follows.
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
        if (!isField) at++; // in a list they are bytes
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

/** Where the number ends that begins at `at`: its last byte is the first below 128. @throws Error for one that is too long */
export function afterNumber(bytes: Uint8Array, at: number): number {
  const last = at + MAX_VARINT - 1;
  while (bytes[at]! >= 0x80) if (at++ === last) throw new Error(`a number of more than ${MAX_VARINT} bytes`);
  return at + 1;
}

/** The number from `at` to `end`, as the parser has those of 32 bits. */
export function unsignedNumber(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = at; i < end; i++) value |= (bytes[i]! & 0x7f) << (7 * (i - at));
  return value;
}

/** The same, signed: of small numbers the sign is in the last bit. */
function smallNumber(bytes: Uint8Array, at: number, end: number): number {
  const value = unsignedNumber(bytes, at, end);
  return (value >>> 1) ^ -(value & 1);
}

/** The length that lies from `at` to `end`: of as many bytes after it at least, for everything takes one. */
function lengthOf(bytes: Uint8Array, at: number, end: number, what: string): number {
  if (end - at > MAX_LENGTH_VARINT) throw new Error(`metadata with a length of ${end - at} bytes`);
  const length = unsignedNumber(bytes, at, end);
  const left = bytes.length - end;
  if (length < 0 || length > left) throw new Error(`metadata with ${what} of ${length >>> 0}, of ${left} bytes`);
  return length;
}

function tooDeep(): Error {
  return new Error(`metadata nested more than ${MAX_DEPTH} deep`);
}
