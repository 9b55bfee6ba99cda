import { HeddleError, invalidArgument } from "../core/errors.ts";
import { addNode } from "./trace.ts";
import { type Node, type TensorType, Value } from "./value.ts";

/** The operands of a node. An optional operand that is left out is undefined. */
export type Operands = readonly (Value | undefined)[];
type Attributes = Readonly<Record<string, number>>;

/** A row of the op table. */
interface OpRow {
  readonly name: string;
  /**
   * Returns the types of the outputs for given operands and attributes, or throws SHAPE_MISMATCH. `wanted` has the output types that the
   * caller asked for, if the operands do not imply them (cast, reshape, split).
   */
  readonly infer: (inputs: Operands, attributes: Attributes, wanted: readonly TensorType[]) => readonly TensorType[];
  /**
   * The vector-Jacobian product, built from other ops. It takes the gradient of each output, which is undefined if the loss does not depend
   * on that output. It returns the gradient of each input, or undefined for an input without a gradient. `needed` says which gradients will
   * be read. The op may omit the others.
   */
  readonly vjp?: (node: Node, gradients: Operands, needed: readonly boolean[]) => Operands;
  /** Indices of operands that the op writes in place. A node of such an op always runs. */
  readonly mutates: readonly number[];
}

const rows = new Map<string, OpRow>();

/** Adds a row to the table and returns a function that adds a node of this op to the trace. */
export function defineOp(row: Omit<OpRow, "mutates"> & { mutates?: readonly number[] }) {
  const full: OpRow = { mutates: [], ...row };
  if (rows.has(full.name)) throw new HeddleError("INTERNAL", `op table: expected one row ${full.name}, got two`);
  rows.set(full.name, full);
  return (inputs: Operands, attributes: Attributes = {}, wanted: readonly TensorType[] = []): readonly Value[] => {
    for (const [i, value] of inputs.entries())
      if (value !== undefined && !(value instanceof Value))
        throw invalidArgument(
          `${full.name}: operand ${i}`,
          "a value of the graph, from input(), tensor() or an op",
          value,
        );
    return addNode(full.name, inputs, attributes, full.infer(inputs, attributes, wanted), full.mutates.length > 0);
  };
}

/** Returns the row of an op, which must exist. */
export function opRow(name: string): OpRow {
  const row = rows.get(name);
  if (!row) throw new HeddleError("INTERNAL", `op table: expected a known op, got ${name}`);
  return row;
}

/** Returns the names of all ops, as programs and profiles show them. */
export function opNames(): string[] {
  return [...rows.keys()];
}
