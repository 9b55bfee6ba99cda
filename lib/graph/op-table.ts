import { HeddleError, invalidArgument } from "../core/errors.ts";
import { addNode } from "./trace.ts";
import { type Node, type TensorType, Value } from "./value.ts";

export type Operands = readonly (Value | undefined)[];
export type Attributes = Readonly<Record<string, number>>;

/** A row of the op table. */
export interface OpRow {
  readonly name: string;
  /**
   * Types of the outputs, from operands and attributes; throws SHAPE_MISMATCH with name, expected, got.
   * `wanted` are the types the caller asked for, where operands do not imply them (cast, reshape, split).
   */
  readonly infer: (inputs: Operands, attributes: Attributes, wanted: readonly TensorType[]) => readonly TensorType[];
  /**
   * Vector-Jacobian product: from the gradient of each output (undefined: not needed) to the gradient of each
   * input (undefined: none), built from other rows. `needed` says which inputs' gradients will be read: an op that makes
   * several at once leaves out the others.
   */
  readonly vjp?: (node: Node, gradients: Operands, needed: readonly boolean[]) => Operands;
  /** Operands that the op writes in place; such a node always runs. */
  readonly mutates: readonly number[];
}

const rows = new Map<string, OpRow>();

/** Adds a row to the table and returns the function that makes its nodes. */
export function defineOp(row: Omit<OpRow, "mutates"> & { mutates?: readonly number[] }) {
  const full: OpRow = { mutates: [], ...row };
  if (rows.has(full.name)) throw new HeddleError("INTERNAL", `op table: expected one row ${full.name}, got two`);
  rows.set(full.name, full);
  return (inputs: Operands, attributes: Attributes = {}, wanted: readonly TensorType[] = []): readonly Value[] => {
    for (const [i, value] of inputs.entries())
      if (value !== undefined && !(value instanceof Value))
        throw invalidArgument(
          `${full.name}: operand ${i}`,
          "a value of the graph, as input() or tensor() makes",
          value,
        );
    return addNode(full.name, inputs, attributes, full.infer(inputs, attributes, wanted), full.mutates.length > 0);
  };
}

/** The row of an op that exists. */
export function opRow(name: string): OpRow {
  const row = rows.get(name);
  if (!row) throw new HeddleError("INTERNAL", `op table: expected a known op, got ${name}`);
  return row;
}

/** The names of all ops, as programs and profiles call them. */
export function opNames(): string[] {
  return [...rows.keys()];
}
