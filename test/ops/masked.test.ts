// Masked elements have no influence, even if they are NaN or infinite. Keys and values are masked for rows that do not attend to them: at
// later positions, in other documents, in padding, outside the window, in other slots, beyond the end. For the gradient of a key, queries
// that do not attend to the key are masked too. References read only visible elements. Rows that attend to a NaN or an infinity are not
// compared, except that NaN must stay NaN.
import { describe, expect, test } from "vitest";
import type { TensorData } from "../../lib/graph/tensor.ts";
import attention from "./cases/attention.case.ts";
import cached from "./cases/cached_attention.case.ts";
import { count, decode, derive, generator, materialize, type OpCase, runOp, sanitized } from "./harness.ts";

const POISON = {
  f32: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  bf16: [0x7fc0, 0x7f80, 0xff80],
  f16: [0x7e00, 0x7c00, 0xfc00],
} as const;

/** Writes one of the first `kinds` values of POISON to a random element of some rows of an operand. `share` is the share of these rows. */
function poison(
  c: OpCase,
  data: readonly (TensorData | undefined)[],
  operand: number,
  share: number,
  seed: number,
  kinds = 3,
) {
  const { dtype, shape } = c.inputs[operand]!;
  if (!(dtype in POISON)) return;
  const [random, values] = [generator(seed), POISON[dtype as keyof typeof POISON]];
  const width = shape.at(-1)!;
  for (let row = 0; row < count(shape) / width; row++)
    if (random() < share)
      (data[operand] as Float32Array)[row * width + Math.floor(random() * width)] =
        values[Math.floor(random() * kinds)]!;
}

/** Checks the kernel's rows that are finite in the reference, and returns their number. */
async function compared(c: OpCase, data: (TensorData | undefined)[]): Promise<{ finite: number; rows: number }> {
  const truth = (await runOp(c, data, { reference: true })).outputs;
  const got = (await runOp(c, data)).outputs;
  let [finite, rows] = [0, 0];
  for (const [i, { dtype, shape }] of c.outputs.entries()) {
    const [want, is] = [decode(dtype, truth[i]!), decode(dtype, got[i]!)];
    const width = shape.length > 2 ? shape.at(-1)! : 1;
    const narrow = c.inputs.some((operand) => operand?.dtype === "bf16") || c.attributes?.bf16;
    for (let at = 0; at < want.length; at += width, rows++) {
      let [size, apart] = [1, 0];
      for (let d = 0; d < width && size < Number.POSITIVE_INFINITY; d++) {
        const difference = Math.abs(want[at + d]! - is[at + d]!);
        size = Number.isFinite(want[at + d]!) ? Math.max(size, Math.abs(want[at + d]!)) : Number.POSITIVE_INFINITY;
        apart = Math.max(apart, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
      }
      if (size === Number.POSITIVE_INFINITY) continue;
      finite++;
      const most = size * (narrow ? 0.06 : 1e-4);
      if (!(apart < most)) expect(apart, `${c.label}: output ${i}, row ${at / width}`).toBeLessThan(most);
    }
  }
  return { finite, rows };
}

/** Checks several cases together, so that finite and non-finite rows both occur. */
async function check(cases: readonly OpCase[], operands: readonly number[], share: number): Promise<void> {
  let [finite, rows] = [0, 0];
  const [first] = operands;
  for (const [i, c] of cases.entries()) {
    if ((i + first!) % 2) continue; // operands with odd and with even index each get half of the cases
    const data = materialize(c.inputs, 1);
    for (const operand of operands) poison(c, data, operand, share, 7 * i + operand);
    await derive(c, data);
    if (sanitized) {
      await runOp(c, data); // accuracy is checked without sanitizers
      continue;
    }
    const seen = await compared(c, data);
    finite += seen.finite;
    rows += seen.rows;
  }
  if (sanitized) return;
  expect(finite).toBeGreaterThan(0);
  expect(finite).toBeLessThan(rows);
}

/** Checks that the kernel returns NaN wherever the reference does. */
async function checkNaN(cases: readonly OpCase[], operand: number, share: number): Promise<void> {
  let found = 0;
  for (const [i, c] of cases.entries()) {
    if ((i + operand) % 2) continue; // as in check
    const data = materialize(c.inputs, 1);
    poison(c, data, operand, share, 7 * i + operand, 1);
    await derive(c, data);
    const got = (await runOp(c, data)).outputs;
    if (sanitized) continue;
    const truth = (await runOp(c, data, { reference: true })).outputs;
    for (const [k, { dtype }] of c.outputs.entries()) {
      const [want, is] = [decode(dtype, truth[k]!), decode(dtype, got[k]!)];
      const lost = Array.from(want).findIndex((v, at) => Number.isNaN(v) && !Number.isNaN(is[at]!));
      if (lost >= 0) expect.fail(`${c.label}: output ${k}, element ${lost}: expected NaN, got ${is[lost]}`);
      found += Array.from(want).filter(Number.isNaN).length;
    }
  }
  if (!sanitized) expect(found).toBeGreaterThan(0);
}

const types = ["f32", "bf16"] as const;
const of = (op: string, type: string, { cases }: { cases: readonly OpCase[] }) =>
  // With a soft cap, an infinite score becomes finite, so rows that attend to an infinity would be compared.
  cases.filter((c) => c.op === op && c.label.startsWith(type) && !c.attributes!.softcap);

describe.each(types)("attention of %s", (type) => {
  test.each([
    ["keys", [1]],
    ["values", [2]],
  ])("ignores NaN and infinities in %s that a query does not attend to", async (_, operands) =>
    check(of("attention", type, attention), operands, 0.02),
  );
  test.each([
    ["keys", [2]],
    ["values", [3]],
    ["queries", [1]],
    ["gradients of outputs", [0]],
  ])("ignores NaN and infinities in masked elements in the backward pass: %s", async (_, operands) =>
    check(of("attention_backward", type, attention), operands, 0.02),
  );
});

describe.each(types)("attention of %s", (type) => {
  test.each([
    ["queries", 0],
    ["keys", 1],
    ["values", 2],
  ])("returns NaN in rows that attend to NaN in %s", async (_, operand) => {
    await checkNaN(of("attention", type, attention), operand, 0.05);
    await checkNaN(of("cached_attention", type, cached), operand, 0.05);
  });
});

describe.each(types)("attention of %s over a cache", (type) => {
  test.each([
    ["keys", [1]],
    ["values", [2]],
  ])("ignores NaN and infinities in %s that a query does not attend to", async (_, operands) =>
    check(of("cached_attention", type, cached), operands, 0.02),
  );
});
