// Reads TensorBoard event files independently of the code that writes them. It follows the documentation of the formats: TFRecord
// (tensorflow.org/tutorials/load_data/tfrecord), CRC-32C (RFC 3720, appendix B.4), protocol buffers
// (protobuf.dev/programming-guides/encoding), event.proto and summary.proto of TensorFlow.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** CRC-32C, bit by bit with the reflected polynomial. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** Returns a file's records, except for a truncated last one. @throws if a checksum is wrong */
export function records(file: Buffer): Buffer[] {
  const found: Buffer[] = [];
  const check = (data: Buffer, stored: number) => {
    const rotated = (stored - 0xa282ead8) >>> 0;
    const crc = ((rotated >>> 17) | (rotated << 15)) >>> 0;
    if (crc !== crc32c(data)) throw new Error(`record ${found.length}: wrong checksum`);
  };
  for (let at = 0; at + 12 <= file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    check(file.subarray(at, at + 8), file.readUInt32LE(at + 8));
    const end = at + 12 + length;
    if (end + 4 > file.length) break;
    const data = file.subarray(at + 12, end);
    check(data, file.readUInt32LE(end));
    found.push(data);
    at = end + 4;
  }
  return found;
}

type Fields = Map<number, (bigint | Buffer)[]>;

/** Returns the fields of a message by number: varints as bigints, all other wire types as bytes. */
function fieldsOf(message: Buffer): Fields {
  const fields: Fields = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++];
      if (byte === undefined) throw new Error("a message is truncated");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const bytes = (length: number) => {
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const key = Number(varint());
    const [field, wire] = [key >> 3, key & 7];
    const value = wire === 0 ? varint() : wire === 1 ? bytes(8) : wire === 5 ? bytes(4) : bytes(Number(varint()));
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  if (at !== message.length) throw new Error("a message is truncated");
  return fields;
}

const first = (fields: Fields, field: number) => fields.get(field)?.[0];
const bytesIn = (fields: Fields, field: number) => first(fields, field) as Buffer | undefined;
const all = (fields: Fields, field: number) => (fields.get(field) ?? []) as Buffer[];

export interface ReadEvent {
  wallTime: number;
  step: number;
  fileVersion?: string;
  sessionStart?: boolean;
  values: { tag: string; number?: number; plugin?: string; texts?: string[]; shape?: number[] }[];
}

export function eventOf(record: Buffer): ReadEvent {
  const event = fieldsOf(record);
  const [version, session, summary] = [bytesIn(event, 3), bytesIn(event, 7), bytesIn(event, 5)];
  const values = summary ? all(fieldsOf(summary), 1).map((bytes) => summaryValueOf(fieldsOf(bytes))) : [];
  return {
    wallTime: bytesIn(event, 1)!.readDoubleLE(),
    step: Number(first(event, 2) ?? 0n),
    ...(version && { fileVersion: version.toString() }),
    ...(session && { sessionStart: first(fieldsOf(session), 1) === 1n }),
    values,
  };
}

function summaryValueOf(value: Fields): ReadEvent["values"][number] {
  const tag = bytesIn(value, 1)!.toString();
  const number = bytesIn(value, 2);
  if (number) return { tag, number: number.readFloatLE() };
  const tensor = fieldsOf(bytesIn(value, 8)!);
  if (first(tensor, 1) !== 7n) throw new Error(`${tag}: expected DT_STRING`);
  const plugin = bytesIn(fieldsOf(bytesIn(fieldsOf(bytesIn(value, 9)!), 1)!), 1)!.toString();
  const shape = all(fieldsOf(bytesIn(tensor, 2)!), 2).map((dim) => Number(first(fieldsOf(dim), 1)));
  return { tag, plugin, shape, texts: all(tensor, 8).map(String) };
}

/** All events of a folder, in the order in which TensorBoard reads them. */
export function eventsIn(folder: string): ReadEvent[] {
  const files = readdirSync(folder).filter((name) => name.includes("tfevents"));
  return files.sort().flatMap((name) => records(readFileSync(join(folder, name))).map(eventOf));
}

/** Returns a folder's scalars by tag. As in TensorBoard, a session start at step n removes events of step n or later that precede it. */
export function scalarsIn(folder: string): Record<string, [step: number, value: number][]> {
  const scalars: Record<string, [number, number][]> = {};
  for (const { step, sessionStart, values } of eventsIn(folder)) {
    if (sessionStart)
      for (const tag of Object.keys(scalars)) scalars[tag] = scalars[tag]!.filter(([earlier]) => earlier < step);
    for (const { tag, number } of values)
      if (number !== undefined) scalars[tag] = [...(scalars[tag] ?? []), [step, number]];
  }
  return scalars;
}
