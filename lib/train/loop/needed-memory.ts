// Refuses training runs that do not fit into memory, before the memory is allocated. Otherwise the system would kill
// the process.
import { getHeapStatistics } from "node:v8";
import { counted, formatBytes } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import { availableBytes } from "../../graph/device.ts";
import type { Device } from "../../graph/index.ts";
import type { Model } from "../../models/model.ts";
import type { StepShape } from "./step.ts";

/** Minimum bytes per position of a waiting micro-batch: its token and its target. */
const POSITION_BYTES = 8;
/** Minimum bytes of a micro-batch without its positions. */
const BATCH_BYTES = 256;
/** Number of micro-batches collected between two checks of the free memory. */
const CHECK_EVERY = 256;
/** Bytes reserved for the rest of the process and the machine. */
const RESERVE = 64 << 20;

/** Sources of memory figures. */
interface MemoryLeft {
  /** Bytes that the system can still allocate. */
  system(): number;
  /** Share of JavaScript's heap that is in use. */
  heapShare(): number;
}

const machine: MemoryLeft = {
  system: availableBytes,
  heapShare() {
    const { used_heap_size, heap_size_limit } = getHeapStatistics();
    return used_heap_size / heap_size_limit;
  },
};

/**
 * Throws if a program's values do not fit into the free memory. CUDA devices report this on their own.
 * @param bytes required by the program, without the weights
 * @param within `replay` for batches of the replay. The message then names the option inside `replay`. Default: the stage's own option
 * @throws HeddleError OUT_OF_MEMORY
 */
export function needRoom(
  device: Pick<Device, "kind" | "arenaBytes">,
  { sequences, sequenceLength, gradientCheckpointing }: StepShape,
  bytes: number,
  within?: "replay",
  left: MemoryLeft = machine,
): void {
  if (device.kind !== "cpu") return;
  const available = left.system() + device.arenaBytes;
  if (bytes <= available) return;
  const place = within ? `${within}.` : "";
  const [name, advice] =
    sequences > 1
      ? ["perDeviceTrainBatchSize", "a smaller batch takes less"]
      : ["maxSeqLength", "shorter sequences take less"];
  const checkpointing = gradientCheckpointing ? "" : ", and so does gradientCheckpointing";
  throw new HeddleError(
    "OUT_OF_MEMORY",
    `${place}${name}: expected micro-batches that fit into the ${formatBytes(available)} of memory that are left, got ${counted(sequences, "sequence")} of ${counted(sequenceLength, "position")}, which take about ${formatBytes(bytes)}; ${advice}${checkpointing}`,
  );
}

/**
 * Throws if one hidden state per position does not fit. Every program needs at least these. Called before a micro-batch
 * is allocated.
 * @throws HeddleError OUT_OF_MEMORY
 */
export function needRoomForRows(model: Pick<Model, "device" | "config">, shape: StepShape, within?: "replay"): void {
  const rows = shape.sequences * shape.sequenceLength;
  // At least 2 bytes per element: hidden states are bf16 or f32.
  needRoom(model.device, shape, 2 * rows * model.config.hiddenSize, within);
}

/**
 * Throws if the micro-batches of one step do not fit into the free memory. They are held until the step begins.
 * @throws HeddleError OUT_OF_MEMORY
 */
export function needRoomForBatches(
  steps: number,
  { sequences, sequenceLength }: Pick<StepShape, "sequences" | "sequenceLength">,
  left: MemoryLeft = machine,
): void {
  const bytes = steps * (BATCH_BYTES + POSITION_BYTES * sequences * sequenceLength);
  const available = left.system();
  if (bytes > available) throw tooManyBatches(steps, `which take at least ${formatBytes(bytes)}`, available);
}

/**
 * Checks the free memory while the micro-batches of a step are collected, because their size is only known then.
 * @param collected number of micro-batches so far
 * @throws HeddleError OUT_OF_MEMORY
 */
export function watchBatches(collected: number, steps: number, left: MemoryLeft = machine): void {
  if (collected % CHECK_EVERY !== 0) return;
  const available = left.system();
  // V8 ends the process when its heap is full, so stop before that.
  if (available < RESERVE || left.heapShare() > 7 / 8)
    throw tooManyBatches(steps, `of which the first ${collected.toLocaleString("en")} already fill it`, available);
}

function tooManyBatches(steps: number, why: string, available: number): HeddleError {
  return new HeddleError(
    "OUT_OF_MEMORY",
    `gradientAccumulationSteps: expected micro-batches that fit into the ${formatBytes(available)} of memory that are left, got ${steps.toLocaleString("en")}, ${why}`,
  );
}
