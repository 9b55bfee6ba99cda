// Tests of every op case: correctness of the active kernel, sentinels, memory sharing, symbolic sizes, gradients.
//
// The rule for an output, in the maximum norm over its elements:
//   truth     the reference over f32 operands with the same values: sums in double, rounded once
//   low       the largest error of low-precision references against the truth. One uses the case's element types (rounding of
//             bf16 results). One has jittered operands (see jitter). One rounds intermediate operands of products to bf16
//             (OpCase.rounded).
//   a kernel  may differ from the truth by 2 · low + 2⁻²¹ of the truth's largest value + 2⁻³⁰ (operands are of order 1)
//
// Under sanitizers (npm run test:asan) only memory errors are checked, since accuracy is tested without them. The different runs of a kernel
// (in place, symbolic, on one thread) are compared with each other. The reference runs once, in the run with HEDDLE_CHECK=1. With the portable
// instruction set, the reference does not run.
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { binding } from "../../lib/binding/index.ts";
import { opNames } from "../../lib/graph/index.ts";
import type { TensorData } from "../../lib/graph/tensor.ts";
import { jitter, largest, widen, worstDifference } from "./errors.ts";
import { checkGradient } from "./gradient.ts";
import {
  decode,
  derive,
  type FailureCase,
  materialize,
  type OpCase,
  type OpFile,
  type Run,
  type RunOptions,
  runOp,
  sanitized,
} from "./harness.ts";

type Written = readonly { name: string; values: ArrayLike<number> }[];

/** Outputs, followed by the operands that the op writes. */
function written(c: OpCase, run: Run): Written {
  return [
    ...c.outputs.map((o, i) => ({ name: `output ${i}`, values: decode(o.dtype, run.outputs[i]!) })),
    ...(c.mutates ?? []).map((i) => ({ name: `operand ${i}`, values: decode(c.inputs[i]!.dtype, run.inputs[i]!) })),
  ];
}

const sameBytes = (a: ArrayBufferView, b: ArrayBufferView) =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

async function checkCase(c: OpCase): Promise<void> {
  const data = materialize(c.inputs, 1);
  await derive(c, data);
  if (sanitized) return checkMemory(c, data);
  // All outputs of a kernel must match one reference: the op itself, or the alternative that kernels may compute.
  const wrong: unknown[] = [];
  for (const attributes of [c.attributes, ...(c.alternative ? [c.alternative] : [])]) {
    try {
      return await checkAgainst({ ...c, attributes }, c, data);
    } catch (e) {
      wrong.push(e);
    }
  }
  throw wrong[0];
}

/** Compares the kernel's results for `c` with the reference's results for `r`, which may have the alternative attributes of `c`. */
async function checkAgainst(r: OpCase, c: OpCase, data: (TensorData | undefined)[]): Promise<void> {
  const wide = widen(r, data);
  const truth = written(wide.case, await runOp(wide.case, wide.data, { reference: true }));
  const { skip, apart } = comparison(c);
  const got = await sameInEveryWay(c, data, { checked: true });
  const fixed = (k: number) => (c.exact || c.outputs[k]?.dtype === "i32" ? 0 : c.within);
  const bounds = c.exact || c.within !== undefined ? truth.map((_, k) => fixed(k)!) : await allowedErrors();
  const within = (what: string, result: Written) =>
    apart(result, truth).forEach((error, k) => {
      expect(error, `${truth[k]!.name}: error ${what}`).toBeLessThanOrEqual(bounds[k]!);
    });
  within("", got);
  // Another number of threads may only change the order of additions.
  within("on one thread", written(c, await runOp(c, data, { threads: 1 })));

  async function allowedErrors(): Promise<number[]> {
    const sameTypes = apart(written(c, await runOp(r, data, { reference: true })), truth);
    const moved = apart(
      written(wide.case, await runOp(wide.case, jitter(c, wide.data, 2), { reference: true })),
      truth,
    );
    const operands = wide.data.map((d) => d as ArrayLike<number>);
    const inside = c.rounded?.(operands).map((v, k) => (v ? worstDifference(v, truth[k]!.values, skip(k)) : 0)) ?? [];
    return truth.map(
      ({ values }, k) =>
        2 * Math.max(sameTypes[k]!, moved[k]!, inside[k] ?? 0) + 2 ** -21 * largest(values, skip(k)) + 2 ** -30,
    );
  }
}

/** Differences of all specified elements that a case writes. */
function comparison(c: OpCase) {
  const skip = (k: number) => c.unspecified && ((i: number) => c.unspecified!(k, i));
  const apart = (a: Written, b: Written) => a.map(({ values }, k) => worstDifference(values, b[k]!.values, skip(k)));
  return { skip, apart };
}

/** The kernel's results, which must have the same bits for any memory plan and when repeated. */
async function sameInEveryWay(c: OpCase, data: (TensorData | undefined)[], first: RunOptions): Promise<Written> {
  const run = await runOp(c, data, first);
  const got = written(c, run);
  c.inputs.forEach((operand, i) => {
    if (operand && !c.mutates?.includes(i))
      expect(sameBytes(run.inputs[i]!, data[i]!), `operand ${i} is only read`).toBe(true);
  });
  const others: [string, RunOptions][] = [["in place", { inplace: true }]];
  if (first.checked) others.push(["unchecked", {}]);
  if (c.symbolic !== undefined) others.push(["symbolic", { symbolic: c.symbolic }]);
  for (const [how, options] of others)
    comparison(c)
      .apart(written(c, await runOp(c, data, options)), got)
      .forEach((difference, k) => {
        expect(difference, `${got[k]!.name}: ${how}`).toBe(0);
      });
  return got;
}

/** Whether the instruction set is the portable one, which baseline.test.ts forces. */
const portable = process.env.HEDDLE_ISA === "baseline";

/** Runs a case in every way for the sanitizers. Reads of uninitialized memory may show as differences between the runs. */
async function checkMemory(c: OpCase, data: (TensorData | undefined)[]): Promise<void> {
  const { skip, apart } = comparison(c);
  const got = await sameInEveryWay(c, data, { checked: !portable });
  apart(written(c, await runOp(c, data, { threads: 1 })), got).forEach((difference, k) => {
    const { name, values } = got[k]!;
    const exact = c.exact || c.outputs[k]?.dtype === "i32";
    expect(difference, `${name}: on one thread`).toBeLessThanOrEqual(exact ? 0 : 2 ** -6 * largest(values, skip(k)));
  });
}

async function checkFailure(c: FailureCase): Promise<void> {
  const data = materialize(c.inputs, 1);
  for (const reference of [false, true]) {
    const error: unknown = await runOp(c, data, { reference }).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error, reference ? "reference" : "kernel").toMatchObject({ code: c.code });
    expect((error as Error).message).toMatch(c.message);
  }
}

const folder = new URL("cases/", import.meta.url);
// In the bundle of scripts/test-arm.mjs, the case files are JavaScript.
const paths = readdirSync(folder).filter((f) => /\.case\.[jt]s$/.test(f));
const files = await Promise.all(
  paths.map(
    async (path) =>
      [
        path.replace(/\.case\.[jt]s$/, ""),
        ((await import(new URL(path, folder).href)) as { default: OpFile }).default,
      ] as const,
  ),
);
const names = files.map(([name]) => name);

/**
 * Matrix products and ops made of them. They take half of the total time, so they are in a separate test file that runs in parallel. They
 * are also the only ops with avxvnni kernels.
 */
const products = new Set(["linear", "linear_epilogue", "quantized", "experts", "fp8"]);

/** Runs the cases on the active instruction set: all, only products, or all others. */
export function opSuite(part?: "products" | "others"): void {
  for (const [name, file] of files.filter(([name]) => !part || products.has(name) === (part === "products")))
    describe(name, () => {
      for (const c of file.cases) test(`${c.op} equals its reference: ${c.label}`, () => checkCase(c));
      for (const c of file.failures ?? []) test(`${c.op} rejects ${c.label}`, () => checkFailure(c));
      for (const c of file.gradients ?? [])
        test(`the gradient equals finite differences: ${c.label}`, () => checkGradient(c));
    });
}

/** Tests that the TypeScript and the native registry have the same ops, each with a case, and a CUDA kernel in builds with CUDA. */
export function registrySuite(): void {
  test("the TypeScript op table and the native registry have the same ops", () => {
    expect(opNames().sort()).toEqual(binding.opNames().sort());
  });
  // Kernels are registered even without a GPU.
  test.runIf(binding.info().cuda.built)("every op has a CUDA kernel", () => {
    const without = Object.entries(binding.cudaKernels()).filter(([, kernels]) => kernels?.length === 0);
    expect(without.map(([op]) => op)).toEqual([]);
    expect(Object.keys(binding.cudaKernels()).sort()).toEqual(opNames().sort());
  });
  test("every case file in the list of matrix products exists", () => {
    expect([...products].filter((name) => !names.includes(name))).toEqual([]);
  });
  test("every op has a test case", () => {
    const covered = new Set(files.flatMap(([, file]) => file.cases.map((c) => c.op)));
    expect(opNames().filter((op) => !covered.has(op))).toEqual([]);
  });
}
