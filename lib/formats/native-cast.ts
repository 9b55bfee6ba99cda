// Conversion of stored weights between element types, in native code.
import type { NativeLaneHandle, NativeTensorHandle } from "../binding/graph.ts";
import { binding } from "../binding/index.ts";
import { HeddleError } from "../core/errors.ts";
import { DTYPES, type NumberDType } from "../graph/dtype.ts";
import { type Device, openDevice, Tensor } from "../graph/index.ts";
import {
  bytesFor,
  type CastFindings,
  castOnLane,
  countOf,
  type ElementRange,
  type ElementSource,
} from "../graph/lane-cast.ts";
import { arrayOf } from "../graph/tensor.ts";

/**
 * Converts little-endian elements, or whole blocks of a quantized type, to another type. It adds `addend` and rounds to
 * nearest. It runs synchronously in plain loops, so it is for small arrays.
 * @param name name of the tensor, for messages
 * @throws HeddleError NUMERICAL for a value that does not fit the narrower type; UNSUPPORTED for a quantized type that
 * can only be read
 */
export function castBytes(
  bytes: Uint8Array,
  from: NumberDType,
  to: NumberDType,
  name: string,
  addend = 0,
): Uint8Array<ArrayBuffer> {
  const cast = binding.castElements(bytes, DTYPES[from], DTYPES[to], addend);
  refuse({ overflows: cast.overflows, notFinite: 0 }, { name, from, to });
  return new Uint8Array(cast.bytes);
}

interface Cast {
  /** Name of the tensor, for messages. */
  name: string;
  from: NumberDType;
  to: NumberDType;
  addend?: number;
  /** Whether to refuse numbers that are not finite. Default: false. */
  finite?: boolean;
  /** Range of elements. Default: all. */
  range?: ElementRange;
  signal?: AbortSignal | undefined;
}

/**
 * Converts elements like castBytes, with bit-identical results, on a device's threads and without blocking the event loop.
 * @param roomFor returns memory for at least this many bytes
 * @throws HeddleError as castBytes; IO, OUT_OF_MEMORY, ABORTED
 */
export async function castElements(
  device: Device,
  source: ElementSource,
  cast: Cast,
  roomFor = newRoom,
): Promise<Uint8Array<ArrayBuffer>> {
  const { range = { first: 0, count: countOf(source, cast.from) } } = cast;
  const bytes = bytesFor(cast.to, range.count);
  const out = roomFor(bytes);
  refuse(await castOnLane(hostOf(device).lane, source, cast, out, 0, range), cast);
  return new Uint8Array(out, 0, bytes);
}

/**
 * Casts several sources into one array, in order.
 * @throws HeddleError as castElements
 */
export async function castTogether(
  device: Device,
  sources: readonly ElementSource[],
  cast: Cast,
): Promise<Uint8Array<ArrayBuffer>> {
  const out = newRoom(
    bytesFor(
      cast.to,
      sources.reduce((n, source) => n + countOf(source, cast.from), 0),
    ),
  );
  await castInto(hostOf(device).lane, sources, cast, out);
  return new Uint8Array(out);
}

/**
 * Returns a tensor with the elements of all `sources`, in order. On the CPU they are converted into the tensor's
 * memory. For another device they are converted on the CPU, and then copied.
 * @throws HeddleError as castElements
 */
export async function castTensor(
  device: Device,
  shape: readonly number[],
  sources: Iterable<ElementSource>,
  cast: Cast,
): Promise<Tensor> {
  const host = hostOf(device);
  const tensor = Tensor.zeros(device, cast.to, shape);
  try {
    const staging = host !== device ? newRoom(tensor.bytes) : undefined;
    await castInto(host.lane, sources, cast, staging ?? tensor.native);
    if (staging) await tensor.writeOwn(arrayOf(cast.to, staging));
    return tensor;
  } catch (error) {
    tensor.dispose();
    throw error;
  }
}

async function castInto(
  lane: NativeLaneHandle,
  sources: Iterable<ElementSource>,
  cast: Cast,
  out: NativeTensorHandle | ArrayBuffer,
): Promise<void> {
  let at = 0;
  for (const source of sources) {
    refuse(await castOnLane(lane, source, cast, out, at), cast);
    at += bytesFor(cast.to, countOf(source, cast.from));
  }
}

/**
 * Returns the device whose threads convert elements for `device`. For a GPU this is the CPU, because a GPU's lane has
 * only one thread.
 */
export function hostOf(device: Device): Device {
  return device.kind === "cpu" ? device : openDevice({ device: "cpu" });
}

/** Allocates memory. @throws HeddleError OUT_OF_MEMORY */
export function newRoom(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch (cause) {
    throw new HeddleError("OUT_OF_MEMORY", `cast: the system has no memory for ${bytes} bytes`, { cause });
  }
}

function refuse({ overflows, notFinite }: CastFindings, { name, to, finite }: Cast): void {
  if (overflows > 0)
    throw new HeddleError("NUMERICAL", `${name}: expected values within the range of ${to}, got ${overflows} outside`);
  if (finite && notFinite > 0)
    throw new HeddleError("NUMERICAL", `${name}: expected finite numbers, got ${notFinite} that are NaN or infinite`);
}
