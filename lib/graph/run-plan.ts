import { HeddleError, invalidArgument } from "../core/errors.ts";
import { bytesOf } from "./dtype.ts";
import { holderOf, holds, type TensorData } from "./tensor.ts";
import type { Dimension, Value } from "./value.ts";

/** A named input or output of a traced function. */
export interface Slot {
  name: string;
  value: Value;
}

/** The element count of a shape: a number times the sizes of symbolic dimensions, given by their indices in the program. */
interface Size {
  fixed: number;
  symbols: readonly number[];
}

interface InputPlan extends Slot {
  size: Size;
  elementBytes: number;
  /**
   * The symbolic dimension that follows from this input's length when earlier inputs are known, and the size of the
   * input's other dimensions.
   */
  solves: { symbol: number; rest: Size } | undefined;
}

/** A series of runs without JavaScript in between. Outputs of one run may be inputs of the next. */
export interface Series {
  count: number;
  /**
   * Names of inputs that differ from run to run; their arrays hold the data of all runs, one after another. Other inputs are the same for
   * all runs.
   */
  each: readonly string[];
  /** Maps an input to the output of the previous run that it receives, from the second run on. */
  feed: Readonly<Record<string, string>>;
}

type Given = Readonly<Record<string, ArrayLike<number> & ArrayBufferView>>;

/**
 * Precomputed properties of a program's inputs and outputs. A run may take less than a millisecond, so it must not compute them again.
 */
export class RunPlan {
  private readonly symbols: readonly Dimension[];
  private readonly inputs: readonly InputPlan[];
  /** Names of all inputs that the traced function made, including unused ones. */
  private readonly names: ReadonlySet<string>;
  private readonly outputs: readonly (Slot & { size: Size; elementBytes: number })[];
  /** Dimensions whose size does not follow from any input. */
  private readonly unknown: readonly Dimension[];

  constructor(
    symbols: readonly Dimension[],
    inputs: readonly Slot[],
    outputs: readonly Slot[],
    names: ReadonlySet<string>,
  ) {
    this.symbols = symbols;
    this.names = names;
    const known = new Set<Dimension>();
    const sizeOf = (value: Value, without?: Dimension): Size => {
      const size: { fixed: number; symbols: number[] } = { fixed: 1, symbols: [] };
      for (const d of value.shape) {
        if (typeof d === "number") size.fixed *= d;
        else if (d !== without) size.symbols.push(symbols.indexOf(d));
      }
      return size;
    };
    this.inputs = inputs.map(({ name, value }) => {
      const open = value.shape.filter((d): d is Dimension => typeof d !== "number" && !known.has(d));
      const one = open.length === 1 ? open[0] : undefined;
      if (one) known.add(one);
      const solves = one && { symbol: symbols.indexOf(one), rest: sizeOf(value, one) };
      return { name, value, size: sizeOf(value), elementBytes: bytesOf(value.dtype), solves };
    });
    this.outputs = outputs.map(({ name, value }) => ({
      name,
      value,
      size: sizeOf(value),
      elementBytes: bytesOf(value.dtype),
    }));
    this.unknown = symbols.filter((s) => !known.has(s));
  }

  /**
   * Rejects unknown input names. Call it first, because otherwise a misspelt name would be reported as a missing input. @throws
   * INVALID_ARGUMENT
   */
  refuseUnknown(inputs: Given): void {
    if (typeof inputs !== "object" || inputs === null)
      throw invalidArgument("run: inputs", "an object of arrays by name", inputs);
    const { names } = this;
    for (const name of Object.keys(inputs)) {
      if (names.has(name) || inputs[name] === undefined) continue;
      const expected = names.size > 0 ? `names among ${[...names].join(", ")}` : "no inputs";
      throw new HeddleError("INVALID_ARGUMENT", `run: inputs: expected ${expected}, got ${name}`);
    }
  }

  /**
   * Returns the sizes of the symbolic dimensions. Each follows from the length of an input in which no other dimension is unknown.
   * @throws SHAPE_MISMATCH, INVALID_ARGUMENT
   */
  sizes(inputs: Given, series?: Series): Int32Array {
    const sizes = new Int32Array(this.symbols.length);
    for (const { name, solves } of this.inputs) {
      if (!solves) continue;
      const symbol = this.symbols[solves.symbol]!;
      const size = (given(inputs, name)?.length ?? 0) / (elements(solves.rest, sizes) * runsOf(name, series));
      if (!Number.isInteger(size) || size > symbol.bound)
        throw new HeddleError(
          "SHAPE_MISMATCH",
          `run: input ${name}: expected at most ${symbol.bound} for the dimension ${symbol}, got ${size}`,
        );
      sizes[solves.symbol] = size;
    }
    for (const s of this.unknown)
      throw new HeddleError("INVALID_ARGUMENT", `run: expected an input that determines the size of ${s}, got none`);
    return sizes;
  }

  /** Returns the input arrays in the program's order. @throws INVALID_ARGUMENT for a missing input, SHAPE_MISMATCH */
  data(inputs: Given, sizes: Int32Array, series?: Series): ArrayBufferView[] {
    return this.inputs.map(({ name, value, size, elementBytes }) => {
      const data = given(inputs, name);
      if (!data) throw new HeddleError("INVALID_ARGUMENT", `run: expected an input ${name}, got none`);
      if (!holds(value.dtype, data))
        throw invalidArgument(`run: input ${name}`, `an array of ${value.dtype} (${holderOf(value.dtype)})`, data);
      if (
        data.length !== elements(size, sizes) * runsOf(name, series) ||
        data.byteLength !== data.length * elementBytes
      )
        throw new HeddleError(
          "SHAPE_MISMATCH",
          `run: input ${name}: expected ${value}, got ${data.length} elements of ${data.byteLength / (data.length || 1)} bytes`,
        );
      return data;
    });
  }

  /** Allocates the outputs of a run, or of all runs of a series. */
  results(sizes: Int32Array, runs = 1): ArrayBuffer[] {
    return this.outputs.map(({ size, elementBytes }) => new ArrayBuffer(runs * elements(size, sizes) * elementBytes));
  }

  /** Returns the outputs as typed arrays by name. */
  named(results: readonly ArrayBuffer[], arrayOf: (dtype: Value["dtype"], buffer: ArrayBuffer) => TensorData) {
    // fromEntries also makes an entry of the name `__proto__`; an assignment would not.
    return Object.fromEntries(this.outputs.map(({ name, value }, i) => [name, arrayOf(value.dtype, results[i]!)]));
  }

  /** Returns the index of an input. @throws INVALID_ARGUMENT for an unknown name */
  inputPlace(name: string): number {
    return placeOf(this.inputs, "input", name);
  }

  /** Returns the index of an output. @throws INVALID_ARGUMENT for an unknown name */
  outputPlace(name: string): number {
    return placeOf(this.outputs, "output", name);
  }
}

/** Returns an input's array. It ignores properties that objects inherit, such as `constructor`. */
function given(inputs: Given, name: string): Given[string] | undefined {
  return Object.hasOwn(inputs, name) ? inputs[name] : undefined;
}

function placeOf(slots: readonly Slot[], kind: string, name: string): number {
  const place = slots.findIndex((s) => s.name === name);
  if (place < 0) throw new HeddleError("INVALID_ARGUMENT", `run: expected the name of an ${kind}, got ${name}`);
  return place;
}

/** Returns how many runs an input's array has data for. */
function runsOf(name: string, series: Series | undefined): number {
  return series?.each.includes(name) ? series.count : 1;
}

function elements({ fixed, symbols }: Size, sizes: Int32Array): number {
  let n = fixed;
  for (const s of symbols) n *= sizes[s]!;
  return n;
}
