// What every op case yields: correctness of the active kernel, sentinels, memory sharing, symbolic sizes, gradients.
//
// The rule for an output, in the maximum norm over its elements:
//   truth     the plain-loop reference over f32 operands of the same values: sums in double, rounded once
//   low       the largest error of low-precision references against the truth: one in the case's own element types (the
//             rounding of bf16 results), one on operands moved as f32 arithmetic would (see jitter), and, of an op whose
//             products take bf16 values that it makes itself, one that rounds these (OpCase.rounded)
//   a kernel  may differ from the truth by 2 · low + 2⁻²¹ of the truth's largest value + 2⁻³⁰ (operands are of order 1)
//
// Under sanitizers (npm run test:asan) memory is what is looked at, and no such errors, which the same cases have been judged by without
// them: kernels run in all of these ways and are compared with each other, and the reference runs once, within the checked run (which
// HEDDLE_CHECK compares with it), or not at all on the portable set, where it is the same code as beside the processor's own.
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
  materialise,
  type OpCase,
  type OpFile,
  type Run,
  type RunOptions,
  runOp,
  sanitized,
} from "./harness.ts";

type Written = readonly { name: string; values: ArrayLike<number> }[];

/** Outputs, then the operands that the op writes. */
function written(c: OpCase, run: Run): Written {
  return [
    ...c.outputs.map((o, i) => ({ name: `output ${i}`, values: decode(o.dtype, run.outputs[i]!) })),
    ...(c.mutates ?? []).map((i) => ({ name: `operand ${i}`, values: decode(c.inputs[i]!.dtype, run.inputs[i]!) })),
  ];
}

const sameBytes = (a: ArrayBufferView, b: ArrayBufferView) =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

async function checkCase(c: OpCase): Promise<void> {
  const data = materialise(c.inputs, 1);
  await derive(c, data);
  if (sanitized) return checkMemory(c, data);
  // All that a kernel gives is near to one of them: that of the op as it is, or that of what kernels may compute in its place.
  const wrong: unknown[] = [];
  for (const attributes of [c.attributes, ...(c.instead ? [c.instead] : [])]) {
    try {
      return await checkBeside({ ...c, attributes }, c, data);
    } catch (e) {
      wrong.push(e);
    }
  }
  throw wrong[0];
}

/** @param r the case as the reference computes it */
async function checkBeside(r: OpCase, c: OpCase, data: (TensorData | undefined)[]): Promise<void> {
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
  // Another number of threads may add in another order, and nothing more.
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

/** Differences of what a case writes, but of what it leaves unspecified. */
function comparison(c: OpCase) {
  const skip = (k: number) => c.unspecified && ((i: number) => c.unspecified!(k, i));
  const apart = (a: Written, b: Written) => a.map(({ values }, k) => worstDifference(values, b[k]!.values, skip(k)));
  return { skip, apart };
}

/** What a kernel writes: the same bits however the memory is planned, and again. */
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

/** Forced beside the processor's own set (baseline.test.ts). */
const portable = process.env.HEDDLE_ISA === "baseline";

/** What a sanitizer looks at, and that nothing is read that nobody wrote. */
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
  const data = materialise(c.inputs, 1);
  for (const reference of [false, true]) {
    const error: unknown = await runOp(c, data, { reference }).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error, reference ? "reference" : "kernel").toMatchObject({ code: c.code });
    expect((error as Error).message).toMatch(c.message);
  }
}

const folder = new URL(".", import.meta.url);
const names = readdirSync(folder).filter((f) => f.endsWith(".case.ts"));
const files = await Promise.all(
  names.map(
    async (name) => [name, ((await import(new URL(name, folder).href)) as { default: OpFile }).default] as const,
  ),
);

/**
 * Matrix products and what consists of them: half of the time that all cases take, in a file of its own, so that two processors share
 * them. They are also all that avxvnni has kernels of its own for.
 */
const products = new Set(["linear", "linear_ended", "quantised", "experts", "fp8"].map((name) => `${name}.case.ts`));

/** Cases on the instruction set in use: all of them, those of products, or the others. */
export function opSuite(part?: "products" | "others"): void {
  for (const [name, file] of files.filter(([name]) => !part || products.has(name) === (part === "products")))
    describe(name.replace(".case.ts", ""), () => {
      for (const c of file.cases) test(`${c.op}: ${c.label}`, () => checkCase(c));
      for (const c of file.failures ?? []) test(`${c.op} refuses ${c.label}`, () => checkFailure(c));
      for (const c of file.gradients ?? []) test(`gradient: ${c.label}`, () => checkGradient(c));
    });
}

/** Both registries name the same ops, and each op has a case. */
export function registrySuite(): void {
  test("the TypeScript op table and the native registry agree", () => {
    expect(opNames().sort()).toEqual(binding.opNames().sort());
  });
  // Kernels are registered where there is no GPU, too.
  test.runIf(binding.info().cuda.built)("every op has a CUDA kernel", () => {
    const without = Object.entries(binding.cudaKernels()).filter(([, kernels]) => kernels?.length === 0);
    expect(without.map(([op]) => op)).toEqual([]);
    expect(Object.keys(binding.cudaKernels()).sort()).toEqual(opNames().sort());
  });
  test("every file of products is there", () => {
    expect([...products].filter((name) => !names.includes(name))).toEqual([]);
  });
  test("every op has a case", () => {
    const covered = new Set(files.flatMap(([, file]) => file.cases.map((c) => c.op)));
    expect(opNames().filter((op) => !covered.has(op))).toEqual([]);
  });
}
