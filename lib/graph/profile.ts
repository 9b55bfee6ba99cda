// Profiles native runs: the time per operation.
import type { NativeProfileRow } from "../binding/graph.ts";
import { binding } from "../binding/index.ts";
import { tableNumber } from "../core/amounts.ts";
import { checkObject, invalidArgument } from "../core/errors.ts";
import { checkWhole } from "../core/option-values.ts";
import { byteLength, DTYPES, type DType, elementCount } from "./dtype.ts";

/** An operand of a profiled operation. */
export interface ProfiledOperand {
  /** Element type. */
  dtype: DType;
  /** Sizes of the dimensions. */
  shape: readonly number[];
}

/** The total of all runs of one operation on operands of the same types and shapes. */
export interface ProfiledOperation {
  /**
   * The op's name as in `opNames`. A linear that was fused with an addition is `linear + add`. Packing a part of the weights is `packing
   * of weights`. `others` is the sum of the operations beyond the first 65,536.
   */
  op: string;
  /** Name of the kernel: `reference` for plain loops, "" for the packing of weights and for `others`. */
  kernel: string;
  /** The input operands. Linears that ran as a group are one operation: their common input, then all weights. */
  inputs: readonly ProfiledOperand[];
  /** The results. */
  outputs: readonly ProfiledOperand[];
  /** Number of calls. */
  calls: number;
  /** Total time of all calls. */
  seconds: number;
  /**
   * Size in bytes of inputs and outputs per call. An op may read only a part of them (one row of an embedding, the used part of a cache).
   */
  bytes: number;
  /** Number of multiplications and additions per call; undefined for ops other than matrix products. */
  flops: number | undefined;
}

/** The result of {@link profile}. */
export interface Profile {
  /** Wall time from beginning to end. */
  seconds: number;
  /** The operations, longest first. The rest of `seconds` was spent in JavaScript, in tokenizers and in waiting. */
  operations: readonly ProfiledOperation[];
}

/**
 * Runs `work` and measures the time per operation. It counts everything that this process computes meanwhile, including other models and
 * worker threads. On the CPU, operations run as usual. A CUDA device is synchronized after each operation, which slows it down.
 *
 * @throws HeddleError INVALID_ARGUMENT while another profile is running, and any error of `work`
 * @example
 * const { result, profile: found } = await profile(() => model.complete("The capital of France is"));
 * console.log(formatProfile(found));
 */
export async function profile<T>(work: () => T | Promise<T>): Promise<{ result: T; profile: Profile }> {
  if (typeof work !== "function") throw invalidArgument("work", "a function", work);
  binding.startProfile();
  const start = performance.now();
  let rows: NativeProfileRow[] = [];
  let result: T;
  let seconds: number;
  try {
    result = await work();
  } finally {
    seconds = (performance.now() - start) / 1e3;
    rows = binding.stopProfile();
  }
  const operations = rows.map(operationOf).sort((a, b) => b.seconds - a.seconds);
  return { result, profile: { seconds, operations } };
}

/** Options of {@link formatProfile}. */
export interface ProfileFormat {
  /** Maximum number of operations to list; the others share one row. Default 30. */
  rows?: number | undefined;
  /** Maximum length of a line in characters. Longer lines are truncated. Default 160. */
  width?: number | undefined;
}

/**
 * Formats a profile as a table. Columns: share of the time, total time, calls, time per call, GFLOP/s, GB/s, op, kernel
 * and operands.
 * @throws HeddleError INVALID_ARGUMENT unless `found` is a profile and the options are integers of at least 1
 */
export function formatProfile(found: Profile, options: ProfileFormat = {}): string {
  checkObject("profile", found);
  checkObject("options", options);
  const { seconds, operations } = found;
  if (typeof seconds !== "number") throw invalidArgument("profile.seconds", "a number", seconds);
  if (!Array.isArray(operations)) throw invalidArgument("profile.operations", "an array", operations);
  for (const operation of operations)
    if (!isOperation(operation))
      throw invalidArgument("profile.operations", "operations that profile() found", operation);
  const { rows = 30, width = 160 } = options;
  for (const [name, value] of Object.entries({ rows, width })) checkWhole(name, value, 1);
  const shown = operations.slice(0, rows);
  const rest = operations.slice(rows);
  const sum = (list: readonly ProfiledOperation[]) => list.reduce((total, o) => total + o.seconds, 0);
  const lines = shown.map((o) => [
    share(o.seconds, seconds),
    milliseconds(o.seconds),
    String(o.calls),
    milliseconds(o.seconds / o.calls),
    rate(o.flops, o),
    rate(o.bytes || undefined, o),
    o.op,
    o.kernel,
    `${o.inputs.map(operandText).join(" ")}${o.outputs.length > 0 ? ` → ${o.outputs.map(operandText).join(" ")}` : ""}`,
  ]);
  const line = (name: string, spent: number) => [share(spent, seconds), milliseconds(spent), "", "", "", "", name];
  if (rest.length > 0) lines.push(line(`${rest.length} more`, sum(rest)));
  lines.push(line("elsewhere", Math.max(0, seconds - sum(operations))));
  return table([["%", "ms", "calls", "ms/call", "GFLOP/s", "GB/s", "op", "kernel", "operands"], ...lines], width);
}

function isOperation(given: unknown): given is ProfiledOperation {
  const { op, kernel, inputs, outputs, calls, seconds, bytes, flops } = (given ?? {}) as Partial<ProfiledOperation>;
  const operands = [inputs, outputs].every((list) => Array.isArray(list) && list.every((o) => Array.isArray(o?.shape)));
  const numbers = [calls, seconds, bytes, flops ?? 0].every((value) => typeof value === "number");
  return operands && numbers && typeof op === "string" && typeof kernel === "string";
}

const DTYPE_NAMES = Object.keys(DTYPES) as DType[];

function operationOf({ inputs, outputs, ...row }: NativeProfileRow): ProfiledOperation {
  const operands = { inputs: operandsOf(inputs), outputs: operandsOf(outputs) };
  const bytes = [...operands.inputs, ...operands.outputs].reduce((n, o) => n + byteLength(o.dtype, o.shape), 0);
  return { ...row, ...operands, bytes, flops: flopsOf(row.op, operands) };
}

function operandsOf(flat: readonly number[]): ProfiledOperand[] {
  const operands: ProfiledOperand[] = [];
  for (let i = 0; i < flat.length; ) {
    const rank = flat[i + 1]!;
    operands.push({ dtype: DTYPE_NAMES[flat[i]!]!, shape: flat.slice(i + 2, i + 2 + rank) });
    i += 2 + rank;
  }
  return operands;
}

type Operands = Pick<ProfiledOperation, "inputs" | "outputs">;
const rowsOf = (operand: ProfiledOperand) => elementCount(operand.shape) / (operand.shape.at(-1) || 1);
const last = ({ shape }: ProfiledOperand) => shape.at(-1)!;

/** FLOPs of the first operand times at most `most` matrices after it. The limit leaves out an addend, which is a matrix too. */
const byWeights =
  (most: number) =>
  ({ inputs: [x, ...others] }: Operands) =>
    others
      .slice(0, most)
      .filter(({ shape }) => shape.length === 2) // skips biases
      .reduce((n, w) => n + 2 * rowsOf(x!) * elementCount(w.shape), 0);

/** FLOPs of `products` matrix products of the size of operand `h` (rows, width) times operand h + 1 (vocabulary, width). */
const byVocabulary =
  (h: number, products: (outputs: readonly ProfiledOperand[]) => number) =>
  ({ inputs, outputs }: Operands) =>
    2 * rowsOf(inputs[h]!) * elementCount(inputs[h + 1]!.shape) * products(outputs);

const FLOPS: Readonly<Record<string, (operands: Operands) => number>> = {
  linear: byWeights(Number.POSITIVE_INFINITY), // a group of linears has several weights
  linear_activation: byWeights(1),
  linear_add: byWeights(1),
  linear_glu: byWeights(2),
  linear_backward_input: byWeights(1),
  linear_backward_input_add: byWeights(1),
  linear_backward_weight: ({ inputs, outputs }) => 2 * rowsOf(inputs[0]!) * elementCount(outputs[0]!.shape),
  // The output is (m, n), and the first input has m · k elements.
  fp8_product: ({ inputs, outputs }) => 2 * elementCount(inputs[0]!.shape) * last(outputs[0]!),
  fp8_linear: byWeights(1),
  fp8_linear_backward_input: byWeights(1),
  // The output is (rows, experts per row, features). Each vector of features is the product with one expert's matrix.
  expert_linear: ({ inputs, outputs }) => 2 * elementCount(outputs[0]!.shape) * last(inputs[1]!),
  expert_linear_backward_input: ({ inputs }) => 2 * elementCount(inputs[0]!.shape) * last(inputs[1]!),
  expert_linear_backward_weight: ({ inputs, outputs }) => 2 * elementCount(inputs[0]!.shape) * last(outputs[0]!),
  token_logprob: byVocabulary(0, () => 1),
  token_logprob_backward: byVocabulary(1, (outputs) => 1 + outputs.length), // it computes the logits again
  token_logprob_with_gradient: byVocabulary(1, (outputs) => outputs.length - 1),
};

function flopsOf(op: string, operands: Operands): number | undefined {
  return FLOPS[op.replace(/ \+ add$/, "")]?.(operands);
}

const operandText = ({ dtype, shape }: ProfiledOperand) => `${dtype}[${shape.join(",")}]`;
const milliseconds = (seconds: number) => tableNumber(seconds * 1e3);
const share = (seconds: number, of: number) => (of > 0 ? (100 * seconds) / of : 0).toFixed(1);
const rate = (amount: number | undefined, { seconds, calls }: ProfiledOperation) =>
  amount === undefined || seconds === 0 ? "" : tableNumber((amount * calls) / seconds / 1e9);

/** Aligns the columns: numbers to the right, words to the left. */
function table(lines: readonly string[][], most: number): string {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((l) => (l[column] ?? "").length)));
  const cell = (text: string, column: number) =>
    column < 6 ? text.padStart(widths[column]!) : text.padEnd(widths[column]!);
  const cut = (text: string) => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);
  return lines.map((l) => cut(l.map(cell).join("  ").trimEnd())).join("\n");
}
