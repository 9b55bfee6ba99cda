import type { NativeMappedFile } from "../binding/files.ts";
import type { NativeTensorHandle } from "../binding/graph.ts";
import { binding } from "../binding/index.ts";
import { checkAttached, HeddleError, invalidArgument } from "../core/errors.ts";
import { brand } from "../core/instanceof.ts";
import { isWhole } from "../core/is-whole.ts";
import { checkWhole } from "../core/option-values.ts";
import { checkDevice, type Device } from "./device.ts";
import {
  byteLength,
  bytesOf,
  DTYPES,
  type DType,
  elementCount,
  type FloatDType,
  isDType,
  isFloat,
  isQuantized,
} from "./dtype.ts";
import { castOnLane } from "./lane-cast.ts";

/** The typed array for elements of a type: bit patterns for bf16 and f16, the bytes of blocks for quantized types. */
export type TensorData = Float32Array | Int32Array | Uint16Array | Uint8Array;

/** Returns a typed array for elements of a type, as a view of a buffer. */
export function arrayOf(dtype: DType, buffer: ArrayBufferLike, offset = 0, length?: number): TensorData {
  if (dtype === "f32") return new Float32Array(buffer, offset, length);
  if (dtype === "i32") return new Int32Array(buffer, offset, length);
  if (dtype === "u8" || isQuantized(dtype)) return new Uint8Array(buffer, offset, length);
  return new Uint16Array(buffer, offset, length);
}

/**
 * The classes of typed arrays that can hold elements of each type. Names are compared, so that arrays of other realms and subclasses such
 * as Buffer are accepted.
 */
const HOLDERS: Partial<Record<DType, readonly string[]>> = {
  f32: ["Float32Array"],
  i32: ["Int32Array"],
  bf16: ["Uint16Array"],
  f16: ["Uint16Array", "Float16Array"],
};
const BYTE_HOLDER = ["Uint8Array"];

/** Returns the name of the typed array for a type's elements. */
export function holderOf(dtype: DType): string {
  return (HOLDERS[dtype] ?? BYTE_HOLDER)[0]!;
}

/** Whether an array's class fits an element type. An equal element size is not enough. */
export function holds(dtype: DType, data: unknown): data is TensorData {
  return ArrayBuffer.isView(data) && (HOLDERS[dtype] ?? BYTE_HOLDER).includes((data as TensorData)[Symbol.toStringTag]);
}

/**
 * A persistent tensor in a device's memory: a weight, an optimizer moment, a KV cache. Its memory is freed after `dispose()`, when the
 * executables that are bound to it are disposed as well.
 */
export class Tensor {
  /** The device whose memory holds the tensor. */
  readonly device: Device;
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the dimensions. */
  readonly shape: readonly number[];
  /** Whether ops may write to it; false if it maps a file. */
  readonly writable: boolean;
  /** The scales of a matrix of 8-bit floats (u8), one per block of 128 × 128. */
  readonly scale: Tensor | undefined;
  /**
   * The order of the stored rows, if they are reordered. The matrix is stored in blocks of `rowOrder.length` rows. Row r
   * of a block is stored at row `rowOrder[r]` of the block.
   */
  readonly rowOrder: Int32Array | undefined;
  /** @internal */ readonly native: NativeTensorHandle;

  private constructor(
    device: Device,
    dtype: DType,
    shape: readonly number[],
    native: NativeTensorHandle,
    writable: boolean,
    { scale, rowOrder }: { scale?: Tensor; rowOrder?: Int32Array | undefined } = {},
  ) {
    this.device = device;
    this.dtype = dtype;
    this.shape = shape;
    this.native = native;
    this.writable = writable;
    this.scale = scale;
    this.rowOrder = rowOrder;
  }

  /** Makes a tensor of zeros. On the CPU, the system allocates its pages when they are first written. */
  static zeros(device: Device, dtype: DType, shape: readonly number[]): Tensor {
    checkDevice(device);
    if (!isDType(dtype)) throw invalidArgument("dtype", `one of ${Object.keys(DTYPES).join(", ")}`, dtype);
    if (!Array.isArray(shape) || !shape.every((d) => isWhole(d)))
      throw invalidArgument("shape", "an array of whole numbers from 0", shape);
    return new Tensor(device, dtype, [...shape], new binding.NativeTensor(byteLength(dtype, shape), device.lane), true);
  }

  /**
   * Makes a read-only tensor of a part of a mapped file. On the CPU, the tensor maps the file unless its rows must be
   * reordered. The part must be aligned to the element size, unless the rows are copied or the type is quantized.
   * @param options.order reorders the rows within blocks of `order.length` rows. Row r of a block is row `order[r]` of
   * the block in the file
   * @param options.keepOrder whether a tensor on the CPU may keep the file's row order. Its `rowOrder` is then set, and
   * `ordered` makes a copy in order. Without `keepOrder`, the tensor is a copy in order
   * @internal
   */
  static mapped(
    device: Device,
    dtype: DType,
    shape: readonly number[],
    file: NativeMappedFile,
    offset: number,
    { order, keepOrder = false }: { order?: Int32Array | undefined; keepOrder?: boolean } = {},
  ): Tensor {
    const bytes = byteLength(dtype, shape);
    const stays = keepOrder && device.kind === "cpu";
    const copied = order && !stays;
    if (!copied && offset % (bytesOf(dtype) || 1))
      throw new HeddleError(
        "INVALID_FILE",
        `tensor: expected an offset aligned to ${bytesOf(dtype)} bytes, got ${offset}`,
      );
    const rows = copied ? { rowBytes: bytes / shape[0]!, order } : undefined;
    const native = new binding.NativeTensor(file, offset, bytes, device.lane, rows);
    return new Tensor(device, dtype, [...shape], native, false, { rowOrder: stays ? order : undefined });
  }

  /**
   * Copies a mapped matrix that has a `rowOrder`, with its rows in order. The device's lane makes the copy before it runs later calls.
   * @internal
   */
  ordered(device: Device): Tensor {
    const { dtype, shape, rowOrder } = this;
    if (!rowOrder) throw new HeddleError("INTERNAL", "ordered: expected a tensor with rowOrder, got one without");
    const rows = { rowBytes: this.bytes / shape[0]!, order: rowOrder };
    return new Tensor(device, dtype, shape, new binding.NativeTensor(this.native, device.lane, rows), false);
  }

  /** Makes a tensor from a copy of `data`, which is taken before the call returns. */
  static async from(device: Device, dtype: DType, shape: readonly number[], data: TensorData): Promise<Tensor> {
    const t = Tensor.zeros(device, dtype, shape);
    await t.write(data);
    return t;
  }

  /** Like `from`, but without a copy. The caller must not use `data` until the promise settles. @internal */
  static async fromOwn(device: Device, dtype: DType, shape: readonly number[], data: TensorData): Promise<Tensor> {
    const t = Tensor.zeros(device, dtype, shape);
    await t.writeOwn(data);
    return t;
  }

  /** Makes a matrix of 8-bit floats (e4m3) from its bytes and the scales of its blocks, for `fp8Linear`. */
  static fp8(bytes: Tensor, scale: Tensor): Tensor {
    checkTensor("bytes", bytes);
    checkTensor("scale", scale);
    return new Tensor(bytes.device, "u8", bytes.shape, bytes.native, bytes.writable, { scale });
  }

  /**
   * Returns a view of `count` elements from element `start` on, as a vector. It shares the memory, which is freed when the tensor and its
   * views are disposed.
   * @internal
   */
  part(start: number, count: number): Tensor {
    checkWhole("start", start, 0);
    checkWhole("count", count, 0);
    const size = bytesOf(this.dtype);
    const native = new binding.NativeTensor(this.native, start * size, count * size);
    return new Tensor(this.device, this.dtype, [count], native, this.writable);
  }

  /** The number of elements. */
  get elements(): number {
    return elementCount(this.shape);
  }
  /** Size in bytes. */
  get bytes(): number {
    return byteLength(this.dtype, this.shape);
  }

  /** Returns a copy of `count` elements from element `start` on, by default all. A quantized tensor always returns all its blocks. */
  async read(start = 0, count?: number): Promise<TensorData> {
    if (isQuantized(this.dtype)) return new Uint8Array(await this.device.lane.read(this.native, 0, this.bytes));
    checkWhole("start", start, 0);
    count ??= this.elements - start;
    checkWhole("count", count, 0);
    const size = bytesOf(this.dtype);
    return arrayOf(this.dtype, await this.device.lane.read(this.native, start * size, count * size));
  }

  /** Returns a copy of `count` bytes from byte `offset` on. */
  async readBytes(offset: number, count: number): Promise<Uint8Array> {
    return new Uint8Array(await this.device.lane.read(this.native, offset, count));
  }

  /** Overwrites bytes from byte `offset` on with a copy of `data`, which is taken before the call returns. */
  async writeBytes(data: Uint8Array, offset: number): Promise<void> {
    await this.device.lane.write(this.native, offset, data);
  }

  /** Returns the elements as f32, converted from their floating or quantized type. */
  async toFloat32(): Promise<Float32Array> {
    const data = await this.read();
    const { dtype, scale, shape } = this;
    if (data instanceof Float32Array) return data;
    if (!scale && !isFloat(dtype) && !isQuantized(dtype)) return toFloat32(dtype, data);
    const numbers = new Float32Array(this.elements);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (scale) {
      const fp8 = { scales: (await scale.read()) as Float32Array, columns: shape[1]! };
      const stored = { data: bytes, offset: 0, bytes: bytes.length, fp8 };
      await castOnLane(this.device.lane, stored, { from: "f32", to: "f32" }, numbers.buffer);
    } else await castOnLane(this.device.lane, bytes, { from: dtype as FloatDType, to: "f32" }, numbers.buffer);
    return numbers;
  }

  /**
   * Overwrites elements from `start` on with a copy of `data`, which is taken before the call returns. For a quantized tensor `start`
   * counts bytes.
   */
  async write(data: TensorData, start = 0): Promise<void> {
    await this.#overwrite(data, start, false);
  }

  /** Like `write`, but without a copy. The caller must not change or transfer `data` until the promise settles. @internal */
  async writeOwn(data: TensorData, start = 0): Promise<void> {
    await this.#overwrite(data, start, true);
  }

  async #overwrite(data: TensorData, start: number, lent: boolean): Promise<void> {
    if (!holds(this.dtype, data))
      throw invalidArgument("write", `an array of ${this.dtype} (${holderOf(this.dtype)})`, data);
    checkAttached("write", data);
    checkWhole("start", start, 0);
    await this.device.lane.write(this.native, start * (bytesOf(this.dtype) || 1), data, lent);
  }

  /**
   * Overwrites the whole tensor with a tensor of the same type and shape, from the same device or another device of the
   * same kind. CUDA devices copy directly to each other if the machine supports it.
   * @throws HeddleError SHAPE_MISMATCH, INVALID_ARGUMENT if only one of the tensors is on the CPU
   */
  async copyFrom(source: Tensor): Promise<void> {
    checkTensor("source", source);
    if (source.dtype !== this.dtype || String(source.shape) !== String(this.shape))
      throw new HeddleError(
        "SHAPE_MISMATCH",
        `copyFrom: expected ${this.dtype}[${this.shape}], got ${source.dtype}[${source.shape}]`,
      );
    await source.device.lane.settle();
    await this.copySeconds(source, 1);
  }

  /** @internal Copies all of `source` `times` times, and returns the seconds that the device took. */
  async copySeconds(source: Tensor, times: number): Promise<number> {
    return new Float64Array(await this.device.lane.copy(source.native, this.native, times))[0]!;
  }

  /**
   * Frees the memory once the work that was already started has ended. `reload` allocates it again. Views, programs and
   * calls that use the tensor meanwhile fail.
   * @param why the message of their error, which has the code UNSUPPORTED
   * @internal
   */
  async unload(why: string): Promise<void> {
    await this.device.lane.unload(this.native, why);
  }

  /** Allocates the memory again, with zeros. @throws HeddleError OUT_OF_MEMORY @internal */
  async reload(): Promise<void> {
    await this.device.lane.reload(this.native);
  }

  /** Frees the memory as soon as no executable is bound to it. */
  dispose(): void {
    this.native.dispose();
  }
  /** Calls `dispose`, for `using` declarations. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  static {
    brand(Tensor, "Tensor");
  }
}

/** Requires a tensor. @throws HeddleError INVALID_ARGUMENT */
export function checkTensor(name: string, tensor: unknown): asserts tensor is Tensor {
  if (!(tensor instanceof Tensor)) throw invalidArgument(name, "a Tensor", tensor);
}

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** Requires numbers: a plain array, or a typed array other than one of BigInts. */
function needNumbers(data: ArrayLike<number>): void {
  const hold = ArrayBuffer.isView(data)
    ? !/^(Big|Data)/.test(String((data as TensorData)[Symbol.toStringTag]))
    : Array.isArray(data) && data.every((value) => typeof value === "number");
  if (!hold) throw invalidArgument("data", "an array of numbers", data);
}

/**
 * Converts bf16 or f16 bits, or other numbers, to f32. @throws HeddleError INVALID_ARGUMENT unless `data` is an array
 * of numbers
 */
export function toFloat32(dtype: DType, data: ArrayLike<number>): Float32Array {
  needNumbers(data);
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) {
    const b = data[i]!;
    if (dtype === "bf16") {
      bits[0] = b << 16;
      out[i] = float[0]!;
    } else if (dtype === "f16") {
      const exponent = (b >> 10) & 31;
      const mantissa = b & 1023;
      const magnitude =
        exponent === 0
          ? mantissa * 2 ** -24
          : exponent === 31
            ? mantissa
              ? Number.NaN
              : Number.POSITIVE_INFINITY
            : (1024 + mantissa) * 2 ** (exponent - 25);
      out[i] = b & 0x8000 ? -magnitude : magnitude;
    } else out[i] = b;
  }
  return out;
}

/**
 * Converts numbers to bf16 bits, rounded to nearest even. @throws HeddleError INVALID_ARGUMENT unless `data` is an
 * array of numbers
 */
export function toBf16(data: Float32Array): Uint16Array {
  needNumbers(data);
  const out = new Uint16Array(data.length);
  for (let i = 0; i < out.length; i++) {
    float[0] = data[i]!;
    const u = bits[0]!;
    // Keep a NaN a NaN: the addition that rounds could carry it to infinity or zero.
    out[i] = (u & 0x7fffffff) > 0x7f800000 ? (u >>> 16) | 0x40 : (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
  }
  return out;
}
