// Writing GGUF version 3.
import { invalidArgument } from "../../core/errors.ts";
import { isNumber } from "../../graph/dtype.ts";
import { writeFileAtomically } from "../../io/atomic-files.ts";
import { ProgressCounter, type TensorData, tensorBytes, type WriteOptions, writeTensor } from "../tensor-data.ts";
import { GGUF_VALUE_TYPES, type GgufArray, type GgufValue, type GgufValueType, ggmlNumber } from "./gguf-types.ts";

interface GgufContent {
  metadata: ReadonlyMap<string, GgufValue>;
  /** Tensors of the types f32, f16, bf16 or a quantized type, with 1 to 4 dimensions. */
  tensors: Iterable<TensorData>;
}

/** Alignment of tensors in bytes: GGUF's default. */
const ALIGNMENT = 32;

/** Writes a GGUF file, which appears complete or not at all. Returns its size in bytes. */
export async function writeGguf(path: string, content: GgufContent, options: WriteOptions = {}): Promise<number> {
  const tensors = [...content.tensors];
  const progress = new ProgressCounter(tensors, options);
  const head = buildHead(content.metadata, tensors);
  let size = 0;
  await writeFileAtomically(path, async (sink) => {
    await sink.write(head);
    for (const tensor of tensors) {
      await sink.align(ALIGNMENT);
      await writeTensor(sink, tensor, options.signal);
      progress.done(tensor);
    }
    await sink.align(ALIGNMENT);
    size = sink.position;
  });
  return size;
}

function buildHead(given: ReadonlyMap<string, GgufValue>, tensors: readonly TensorData[]): Buffer {
  const metadata = new Map(given);
  metadata.set("general.alignment", { type: "u32", value: ALIGNMENT });
  const out = new ByteWriter();
  out.bytes(Buffer.from("GGUF"));
  out.u32(3);
  out.u64(BigInt(tensors.length));
  out.u64(BigInt(metadata.size));
  for (const [key, value] of metadata) {
    out.string(key);
    writeValue(out, key, value);
  }
  const names = new Set<string>();
  let offset = 0;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    if (names.has(name)) throw invalidArgument("tensor name", "each name once", name);
    names.add(name);
    // ggml stores names in 64 bytes, including the terminating zero (GGML_MAX_NAME).
    if (Buffer.byteLength(name) > 63) throw invalidArgument("tensor name", "at most 63 bytes for GGUF", name);
    if (!isNumber(dtype)) {
      throw invalidArgument(`tensor ${name}: dtype`, "f32, f16, bf16 or a quantized type for GGUF", dtype);
    }
    if (shape.length < 1 || shape.length > 4 || shape.includes(0)) {
      throw invalidArgument(`tensor ${name}: shape`, "1 to 4 dimensions above 0 for GGUF", shape);
    }
    out.string(name);
    out.u32(shape.length);
    for (const size of [...shape].reverse()) out.u64(BigInt(size));
    out.u32(ggmlNumber(dtype));
    out.u64(BigInt(offset));
    offset += Math.ceil(tensorBytes(tensor) / ALIGNMENT) * ALIGNMENT;
  }
  return out.finish();
}

function writeValue(out: ByteWriter, key: string, value: GgufValue): void {
  out.u32(typeNumber(value.type));
  writeBody(out, key, value);
}

function typeNumber(type: GgufValueType): number {
  return GGUF_VALUE_TYPES.indexOf(type);
}

function writeBody(out: ByteWriter, key: string, entry: GgufValue): void {
  switch (entry.type) {
    case "string":
      out.string(entry.value);
      break;
    case "array":
      writeArray(out, key, entry);
      break;
    default:
      out.scalar(entry.type, entry.value, key);
  }
}

function writeArray(out: ByteWriter, key: string, array: GgufArray): void {
  out.u32(typeNumber(array.of));
  out.u64(BigInt(array.value.length));
  switch (array.of) {
    case "string":
      for (const text of array.value) out.string(text);
      return;
    case "bool":
      for (const flag of array.value) out.scalar("bool", flag, key);
      return;
    case "array":
      for (const nested of array.value) writeArray(out, key, nested);
      return;
    default: {
      const { buffer, byteOffset, byteLength } = array.value;
      out.bytes(new Uint8Array(buffer, byteOffset, byteLength));
    }
  }
}

/** A growing little-endian buffer. */
class ByteWriter {
  private buffer = Buffer.alloc(1 << 16);
  private used = 0;

  /** Reserves `bytes` bytes and returns their offset. */
  private take(bytes: number): number {
    const at = this.used;
    this.used += bytes;
    if (this.used > this.buffer.length) {
      const grown = Buffer.alloc(Math.max(this.used, this.buffer.length * 2));
      this.buffer.copy(grown, 0, 0, at);
      this.buffer = grown;
    }
    return at;
  }

  bytes(bytes: Uint8Array): void {
    const at = this.take(bytes.length);
    this.buffer.set(bytes, at);
  }

  u32(value: number): void {
    const at = this.take(4);
    this.buffer.writeUInt32LE(value, at);
  }

  u64(value: bigint): void {
    const at = this.take(8);
    this.buffer.writeBigUInt64LE(value, at);
  }

  string(text: string): void {
    const bytes = Buffer.from(text);
    this.u64(BigInt(bytes.length));
    this.bytes(bytes);
  }

  scalar(type: GgufValueType, value: number | bigint | boolean, key: string): void {
    const view = Buffer.alloc(8);
    let bytes: number;
    try {
      bytes = writeScalar(view, type, value);
    } catch {
      throw invalidArgument(`metadata ${key}`, `a value that fits ${type}`, value);
    }
    this.bytes(view.subarray(0, bytes));
  }

  finish(): Buffer {
    return this.buffer.subarray(0, this.used);
  }
}

/** Writes a value and returns its size in bytes. Throws RangeError for a value that does not fit. */
function writeScalar(to: Buffer, type: GgufValueType, value: number | bigint | boolean): number {
  const number = Number(value);
  switch (type) {
    case "u8":
      return to.writeUInt8(number);
    case "i8":
      return to.writeInt8(number);
    case "u16":
      return to.writeUInt16LE(number);
    case "i16":
      return to.writeInt16LE(number);
    case "u32":
      return to.writeUInt32LE(number);
    case "i32":
      return to.writeInt32LE(number);
    case "f32":
      return to.writeFloatLE(number);
    case "f64":
      return to.writeDoubleLE(number);
    case "bool":
      return to.writeUInt8(value ? 1 : 0);
    case "u64":
      return to.writeBigUInt64LE(BigInt(value));
    case "i64":
      return to.writeBigInt64LE(BigInt(value));
    default:
      throw new RangeError(type);
  }
}
