import type {
  AbortFlagHandle,
  NativeExecutableHandle,
  NativeProgramHandle,
  ProgramDescription,
} from "../binding/graph.ts";
import { binding } from "../binding/index.ts";
import { cancellable } from "../core/abort-listeners.ts";
import { checkObject, HeddleError, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { checkWhole } from "../core/option-values.ts";
import { checkDevice, type Device } from "./device.ts";
import { DTYPES } from "./dtype.ts";
import { fuse } from "./passes/fuse.ts";
import { fuseActivations, fuseEpilogues } from "./passes/fuse-epilogues.ts";
import { gatherDivided } from "./passes/gather-divided.ts";
import { narrow } from "./passes/keep-bf16.ts";
import { RunPlan, type Series, type Slot } from "./run-plan.ts";
import { arrayOf, checkTensor, type Tensor, type TensorData } from "./tensor.ts";
import { record, type Trace } from "./trace.ts";
import { type Dimension, type Node, showShape, Value } from "./value.ts";

/** The named results of a traced function. Each run returns copies of them. */
export type Results = Record<string, Value>;
/** The inputs of a run: a typed array per name, whose class fits the input's element type (see `TensorData`). */
export type Inputs = Record<string, ArrayLike<number> & ArrayBufferView>;

/** A traced graph with its native plan. Bind it to tensors to run it. One program may be bound several times. */
export class Program<R extends Results = Results> {
  /** Names of the inputs that the traced function made, in that order. A run takes an array for each. */
  readonly inputNames: ReadonlySet<string>;
  /** @internal */ readonly native: NativeProgramHandle;
  /** @internal */ readonly tensors: readonly Slot[];
  /** @internal */ readonly outputs: readonly Slot[];
  /** @internal */ readonly plan: RunPlan;
  private onCuda: NativeProgramHandle | undefined;
  private readonly describeForCuda: () => ProgramDescription;

  /** @internal */ constructor(trace: Trace, results: R) {
    const values = Object.values(results);
    const nodes = gatherDivided(fuse(live(trace, results), values), trace.divided);
    const description = describeProgram(trace, results, narrow(fuseActivations(nodes, values), values));
    this.describeForCuda = () =>
      describeProgram(trace, results, narrow(fuseEpilogues(nodes, values), values, true)).native;
    this.tensors = description.tensorSlots;
    this.outputs = Object.entries(results).map(([name, value]) => ({ name, value }));
    this.inputNames = new Set(trace.inputs.keys());
    this.plan = new RunPlan(description.dimensions, description.inputSlots, this.outputs, this.inputNames);
    this.native = new binding.NativeProgram(description.native);
  }

  /** Size in bytes of the arena, which holds all intermediate values. */
  get arenaBytes(): number {
    return this.native.arenaBytes;
  }

  /**
   * Binds the program to tensors, by their names.
   * @throws NOT_FOUND for a missing tensor, SHAPE_MISMATCH for a tensor that does not fit. INVALID_ARGUMENT if the
   * program writes a tensor that is bound to two names. UNSUPPORTED if the device has no kernel for an op
   */
  bind(device: Device, tensors: ReadonlyMap<string, Tensor>): Executable<R> {
    checkDevice(device);
    if (typeof tensors?.get !== "function") throw invalidArgument("tensors", "a Map from names to tensors", tensors);
    const handles = this.tensors.map(({ name, value }) => {
      const t = tensors.get(name);
      if (!t) throw new HeddleError("NOT_FOUND", `bind: expected a tensor ${name}, got none`);
      checkTensor(`bind: tensor ${name}`, t);
      if (t.dtype !== value.dtype || t.shape.length !== value.rank || t.shape.some((d, i) => d !== value.shape[i]))
        throw new HeddleError(
          "SHAPE_MISMATCH",
          `bind: tensor ${name}: expected ${value}, got ${t.dtype}${showShape(t.shape)}`,
        );
      return t.native;
    });
    return new Executable(this, device, new binding.NativeExecutable(this.nativeFor(device), handles, device.lane));
  }

  /** Returns the plan for a kind of device. All plans have the same inputs, tensors and outputs. */
  private nativeFor(device: Device): NativeProgramHandle {
    if (device.kind !== "cuda" || process.env.HEDDLE_CUDA_ENDINGS === "0") return this.native;
    this.onCuda ??= new binding.NativeProgram(this.describeForCuda());
    return this.onCuda;
  }
}

/** The data of each result: f32 as Float32Array, i32 as Int32Array, bf16 and f16 as bit patterns in a Uint16Array. */
export type Outputs<R extends Results> = { [K in keyof R]: TensorData };

/** Aborts the runs that were started with it. Runs check it between nodes, and within long nodes. */
export type AbortFlag = AbortFlagHandle;

/** Returns a flag that is not set. */
export function abortFlag(): AbortFlag {
  return new binding.AbortFlag();
}

/** Maximum number of runs in a series. */
const MAX_RUNS = 4096;

/** Options of `Executable.start`. */
interface StartOptions {
  signal?: AbortSignal | undefined;
  flag?: AbortFlag | undefined;
  late?: readonly string[] | undefined;
  series?: Series | undefined;
}

/** A program bound to tensors on a device. */
export class Executable<R extends Results = Results> {
  /** The program that was bound. */
  readonly program: Program<R>;
  /** The device on which it runs. */
  readonly device: Device;
  private readonly native: NativeExecutableHandle;

  /** @internal */ constructor(program: Program<R>, device: Device, native: NativeExecutableHandle) {
    this.program = program;
    this.device = device;
    this.native = native;
  }

  /**
   * Runs on the device's lane. The inputs are copied before the call returns. The sizes of symbolic dimensions follow
   * from the inputs' lengths.
   * @throws HeddleError INVALID_ARGUMENT for a missing or an unknown input; SHAPE_MISMATCH; ABORTED if `signal` fires.
   * The run then stops between nodes or within a long node. A run that is recorded as a CUDA graph completes first
   */
  async run(inputs: Inputs, options: { signal?: AbortSignal | undefined } = {}): Promise<Outputs<R>> {
    checkObject("run: options", options);
    const { signal } = options;
    throwIfAborted(signal, "run");
    const { outputs, done } = this.start(inputs, { signal });
    await done;
    return outputs;
  }

  /**
   * Queues a run without waiting for it. A device executes its runs in the order in which they were started.
   * @internal The returned outputs are written during the run. Their buffers must not be transferred before `done`
   * settles.
   * @param options.flag aborts the run; `signal` sets it too. A flag may be shared by several runs, and aborts them all
   * @param options.late names of inputs that are read when the run begins, not at this call. They may be outputs of
   * runs that were started earlier
   * @param options.series several runs that follow each other without waiting for JavaScript. The outputs hold the data
   * of all runs, one after another
   * @returns the outputs, which are not filled yet, and a promise that resolves when they are filled
   */
  start(inputs: Inputs, options: StartOptions = {}): { outputs: Outputs<R>; done: Promise<void> } {
    const { signal, late = [], series } = options;
    if (series) checkWhole("series.count", series.count, 1, MAX_RUNS);
    const { plan } = this.program;
    plan.refuseUnknown(inputs);
    const sizes = plan.sizes(inputs, series);
    const data = plan.data(inputs, sizes, series);
    const results = plan.results(sizes, series?.count);
    const flag = options.flag ?? (signal && new binding.AbortFlag());
    const places = late.map((name) => plan.inputPlace(name));
    const running = this.launch(sizes, data, results, flag, places, series);
    const outputs = plan.named(results, arrayOf) as Outputs<R>;
    return { outputs, done: signal && flag ? cancellable(running, signal, () => flag.abort()) : running };
  }

  private launch(
    symbols: Int32Array,
    data: ArrayBufferView[],
    results: ArrayBuffer[],
    flag: AbortFlagHandle | undefined,
    late: readonly number[],
    series: Series | undefined,
  ): Promise<void> {
    const { lane } = this.device;
    if (!series) return lane.run(this.native, symbols, data, results, flag, late) as Promise<void>;
    const { plan } = this.program;
    const each = series.each.map((name) => plan.inputPlace(name));
    const feed = Object.entries(series.feed).flatMap(([to, from]) => [plan.inputPlace(to), plan.outputPlace(from)]);
    return lane.run(this.native, symbols, data, results, flag, late, series.count, each, feed) as Promise<void>;
  }

  /** Device time of the last run including its copies, in seconds; 0 on the CPU. */
  get deviceSeconds(): number {
    return this.native.deviceSeconds;
  }

  /**
   * Seconds that the last run waited for other ranks (`allReduce`, `reduceScatter`, `allGather`). On CUDA, only the waits of `allReduce` are
   * measured.
   */
  get waitedSeconds(): number {
    return this.native.waitedSeconds;
  }

  /** @internal Number of CUDA graphs recorded so far, one per combination of input sizes. */
  get recordings(): number {
    return this.native.recordings;
  }

  /** Frees the memory of intermediate values and releases the tensors. */
  dispose(): void {
    this.native.dispose();
  }
}

/**
 * Traces `build` and plans the graph. Compile once, keep the program, and run it many times.
 * @throws HeddleError INVALID_ARGUMENT unless `build` returns a record of values that it traced, SHAPE_MISMATCH if operands do not fit
 */
export function compile<R extends Results>(build: () => R): Program<R> {
  if (typeof build !== "function") throw invalidArgument("compile", "a function", build);
  const { trace, result } = record(build);
  const returned = "compile: the function's result";
  if (result instanceof Promise) result.catch(() => {}); // nobody else handles the rejection of an async function
  if (!isObject(result) || result instanceof Promise)
    throw invalidArgument(returned, "an object of named values", result);
  for (const [name, value] of Object.entries(result))
    if (!(value instanceof Value)) throw invalidArgument(`${returned}: ${name}`, "a value of the graph", value);
  return new Program(trace, result);
}

/**
 * Returns the nodes that an output or an effect depends on, in order.
 * @throws HeddleError INVALID_ARGUMENT if one of the nodes reads a value of another trace
 */
function live(trace: Trace, results: Results): Node[] {
  const wanted = new Set<Value>(Object.values(results));
  const kept: Node[] = [];
  for (const node of trace.nodes.slice().reverse()) {
    if (!node.effect && !node.outputs.some((o) => wanted.has(o))) continue;
    kept.push(node);
    for (const v of node.inputs) if (v) wanted.add(v);
  }
  const own = new Set([...trace.inputs.values(), ...trace.tensors.values(), ...kept.flatMap((node) => node.outputs)]);
  for (const value of wanted)
    if (!own.has(value))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `compile: expected values that its function makes, got ${value} of another function`,
      );
  return kept.reverse();
}

function describeProgram(trace: Trace, results: Results, nodes: readonly Node[]) {
  const ids = new Map<Value, number>();
  const values: number[] = [];
  const dimensions: Dimension[] = [];
  const idOf = (value: Value): number => {
    const known = ids.get(value);
    if (known !== undefined) return known;
    values.push(DTYPES[value.dtype], value.rank);
    for (const d of value.shape) {
      if (typeof d === "number") {
        values.push(d);
        continue;
      }
      let symbol = dimensions.indexOf(d);
      if (symbol < 0) symbol = dimensions.push(d) - 1;
      values.push(-1 - symbol);
    }
    ids.set(value, ids.size);
    return ids.size - 1;
  };
  const used = new Set<Value>([
    ...Object.values(results),
    ...nodes.flatMap((n) => n.inputs.filter((v) => v !== undefined)),
  ]);
  const slots = (map: ReadonlyMap<string, Value>): Slot[] =>
    [...map].filter(([, value]) => used.has(value)).map(([name, value]) => ({ name, value }));
  const inputSlots = slots(trace.inputs);
  const tensorSlots = slots(trace.tensors);
  const native: ProgramDescription = {
    bound: tensorSlots.map((s) => idOf(s.value)),
    inputs: inputSlots.map((s) => idOf(s.value)),
    nodes: nodes.map((n) => ({
      op: n.op,
      inputs: n.inputs.map((v) => (v ? idOf(v) : -1)),
      outputs: n.outputs.map(idOf),
      attributes: Object.entries(n.attributes).flat(),
      origin: n.origin,
    })),
    outputs: Object.values(results).map(idOf),
    symbols: dimensions.map((d) => d.bound),
    values,
  };
  return { native, dimensions, inputSlots, tensorSlots };
}
