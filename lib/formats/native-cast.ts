// Element types of stored weights, converted by native code.
import type { NativeLaneHandle, NativeTensorHandle } from "../binding/graph.ts";
import { binding } from "../binding/index.ts";
import { HeddleError } from "../core/errors.ts";
import type { NumberDType } from "../graph/dtype.ts";
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
import { nativeNumber } from "./weight-dtype.ts";

/**
 * Little-endian elements (or whole blocks of a quantised type) in another type, rounded to nearest, after adding `addend`. On this thread, in plain
 * loops: for little.
 * @throws HeddleError NUMERICAL where a value does not fit the narrower type (`name` is the tensor's), UNSUPPORTED for a
 *   quantised type that is only read
 */
export function castBytes(
  bytes: Uint8Array,
  from: NumberDType,
  to: NumberDType,
  name: string,
  addend = 0,
): Uint8Array<ArrayBuffer> {
  const cast = binding.castElements(bytes, nativeNumber(from), nativeNumber(to), addend);
  refuse({ overflows: cast.overflows, notFinite: 0 }, { name, from, to });
  return new Uint8Array(cast.bytes);
}

export interface Cast {
  /** The tensor's, for messages. */
  name: string;
  from: NumberDType;
  to: NumberDType;
  addend?: number;
  /** Refuse numbers that are not finite. */
  finite?: boolean;
  /** All where not given. */
  range?: ElementRange;
  signal?: AbortSignal | undefined;
}

/**
 * The same bits, computed by the threads of a device without blocking the event loop.
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
 * A tensor of what `sources` hold one after the other. On the CPU they are cast where they are to be; another device is given them once all are.
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
    const far = host !== device ? newRoom(tensor.bytes) : undefined;
    await castInto(host.lane, sources, cast, far ?? tensor.native);
    if (far) await tensor.writeOwn(arrayOf(cast.to, far));
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

/** The device whose threads convert for a device: a GPU's lane has one alone. */
export function hostOf(device: Device): Device {
  return device.kind === "cpu" ? device : openDevice({ device: "cpu" });
}

/** @throws HeddleError OUT_OF_MEMORY */
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
