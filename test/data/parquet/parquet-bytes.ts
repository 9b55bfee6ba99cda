// Builds valid and invalid Parquet files from parts, with a hand-written encoder for the Thrift compact protocol. Field ids and enum values are those of
// parquet.thrift in apache/parquet-format.

/** A value with its Thrift type number. */
export interface Thrift {
  type: number;
  bytes: number[];
}

export function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

export const i32 = (value: number): Thrift => ({ type: 5, bytes: varint(value < 0 ? -2 * value - 1 : 2 * value) });
export const i64 = (value: number): Thrift => ({ ...i32(value), type: 6 });
export const binary = (value: string | Buffer): Thrift => {
  const bytes = Buffer.from(value as string);
  return { type: 8, bytes: [...varint(bytes.length), ...bytes] };
};
/** @param claimed stored length, if different from the actual one */
export const list = (of: number, values: Thrift[], claimed = values.length): Thrift => ({
  type: 9,
  bytes: [0xf0 | of, ...varint(claimed), ...values.flatMap(({ bytes }) => bytes)],
});
export function struct(fields: Record<number, Thrift | undefined>): Thrift {
  // Every field id in its long form.
  const bytes = Object.entries(fields).flatMap(([id, value]) =>
    value ? [value.type, ...varint(2 * Number(id)), ...value.bytes] : [],
  );
  return { type: 12, bytes: [...bytes, 0] };
}

export interface Element {
  name: string;
  /** 6: byte arrays; 1: 32-bit integers */
  type?: number;
  /** 0 required, 1 optional, 2 repeated */
  repetition?: number;
  children?: number;
  length?: number;
  converted?: number;
  logical?: Thrift;
}

export const element = ({ name, type, repetition, children, length, converted, logical }: Element): Thrift =>
  struct({
    ...(type !== undefined && { 1: i32(type) }),
    ...(length !== undefined && { 2: i32(length) }),
    ...(repetition !== undefined && { 3: i32(repetition) }),
    4: binary(name),
    ...(children !== undefined && { 5: i32(children) }),
    ...(converted !== undefined && { 6: i32(converted) }),
    ...(logical && { 10: logical }),
  });

/** A file with the given footer. */
export function parquetFile(footer: readonly number[], pages: Buffer = Buffer.alloc(0)): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(footer.length);
  tail.write("PAR1", 4);
  return Buffer.concat([Buffer.from("PAR1"), pages, Buffer.from(footer), tail]);
}

/** A version 1 data page: header, then bytes. */
export function dataPage(values: number, encoding: number, body: Buffer, unpacked = body.length): Buffer {
  const own = struct({ 1: i32(values), 2: i32(encoding), 3: i32(3), 4: i32(3) });
  const header = struct({ 1: i32(0), 2: i32(unpacked), 3: i32(body.length), 5: own });
  return Buffer.concat([Buffer.from(header.bytes), body]);
}

export interface Table {
  /** Schema elements after the root. */
  schema: Element[];
  path: string[];
  type: number;
  codec?: number;
  values: number;
  rows?: number;
  pages: Buffer;
  unpacked?: number;
  /** Statistics of the column, if any. */
  statistics?: Thrift;
}

/** A file with one column in one row group. */
export function parquetTable({
  schema,
  path,
  type,
  codec = 0,
  values,
  rows,
  pages,
  unpacked,
  statistics,
}: Table): Buffer {
  const meta = struct({
    1: i32(type),
    2: list(5, [i32(0)]),
    3: list(8, path.map(binary)),
    4: i32(codec),
    5: i64(values),
    6: i64(unpacked ?? pages.length),
    7: i64(pages.length),
    9: i64(4),
    ...(statistics && { 12: statistics }),
  });
  const group = struct({ 1: list(12, [struct({ 2: i64(4), 3: meta })]), 2: i64(pages.length), 3: i64(rows ?? values) });
  const columns = [element({ name: "root", children: 1 }), ...schema.map(element)];
  return parquetFile(
    struct({ 1: i32(1), 2: list(12, columns), 3: i64(rows ?? values), 4: list(12, [group]) }).bytes,
    pages,
  );
}
