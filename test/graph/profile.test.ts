// Profiles of programs. These tests pass on every device.
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import {
  add,
  compile,
  Dimension,
  formatProfile,
  input,
  linear,
  openDevice,
  type ProfiledOperand,
  profile,
  Tensor,
  tensor,
} from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { addonPath } from "../helpers/addon.ts";

const device = openDevice();
const text = ({ dtype, shape }: ProfiledOperand) => `${dtype}[${shape.join(",")}]`;

/** y = x w^T + x for a number of rows that each run gives. */
async function executable() {
  const rows = new Dimension("rows", 64);
  const program = compile(() => {
    const x = input("x", "f32", [rows, 48]);
    return { y: add(linear(x, tensor("w", "f32", [48, 48])), x) };
  });
  const weights = Float32Array.from({ length: 48 * 48 }, (_, i) => ((i * 7) % 13) / 13 - 0.5);
  const bound = program.bind(device, new Map([["w", await Tensor.from(device, "f32", [48, 48], weights)]]));
  const run = async (n: number) => (await bound.run({ x: new Float32Array(n * 48).fill(1) })).y as Float32Array;
  return run;
}

test("a profile lists each operation with operand shapes, calls and time", async () => {
  const run = await executable();
  const plain = await run(64);
  const { result, profile: found } = await profile(async () => {
    await run(16);
    await run(16);
    return run(64);
  });
  expect(Buffer.compare(Buffer.from(result.buffer), Buffer.from(plain.buffer))).toBe(0);
  const products = found.operations.filter(({ op }) => op.startsWith("linear"));
  const told = products.map(({ inputs, outputs, calls, flops, bytes }) => {
    const operands = [...inputs, ...outputs];
    // A device that fuses the sum into the product lists x twice, as operand and as addend, so drop duplicates.
    const one = operands.filter((o, i) => operands.findIndex((other) => text(other) === text(o)) === i);
    expect(bytes).toBe(operands.reduce((n, { shape: [rows] }) => n + 4 * rows! * 48, 0));
    return [one.map(text).join(" "), calls, flops];
  });
  expect(told.sort()).toEqual([
    ["f32[16,48] f32[48,48]", 2, 2 * 16 * 48 * 48],
    ["f32[64,48] f32[48,48]", 1, 2 * 64 * 48 * 48],
  ]);
  const sums = found.operations.filter(({ op }) => /\badd$|_add$/.test(op));
  expect(sums.reduce((n, { calls }) => n + calls, 0)).toBe(3);
  for (const { seconds, kernel, flops, op } of found.operations) {
    expect(seconds).toBeGreaterThan(0);
    expect(kernel).not.toBe("");
    expect(flops === undefined).toBe(!op.startsWith("linear"));
  }
  const inside = found.operations.reduce((n, { seconds }) => n + seconds, 0);
  expect(inside).toBeLessThan(found.seconds);
  expect(found.operations.map(({ seconds }) => seconds)).toEqual(
    found.operations.map(({ seconds }) => seconds).sort((a, b) => b - a),
  );
});

test("a profile does not count earlier runs", async () => {
  const run = await executable();
  await run(8);
  const { profile: found } = await profile(() => 1);
  expect(found.operations).toEqual([]);
});

test("only one profile can be active, and a failure of its work ends it", async () => {
  const failure = profile(async () => {
    await expect(profile(() => 1)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "profile: expected no profile in progress, got a second call",
    });
    throw new Error("of the caller");
  });
  await expect(failure).rejects.toThrow("of the caller");
  expect((await profile(() => 2)).result).toBe(2);
});

test("profiling does not change a model's output, and lists each op of nodes that run together", async () => {
  await using model = await LanguageModel.load("default");
  // The prompt is long enough for nodes to run in row blocks once weights are packed.
  const prompt = "The capital of France is Paris. ".repeat(40);
  const answer = () => model.complete(prompt, { maxTokens: 6, temperature: 0 });
  const plain = await answer();
  const { result, profile: found } = await profile(answer);
  expect(result.tokens).toEqual(plain.tokens);
  expect(result.logprobs).toEqual(plain.logprobs);
  const ops = new Set(found.operations.map(({ op }) => op));
  for (const op of ["rms_norm", "cached_attention", "sample"]) expect(ops, op).toContain(op);
  expect([...ops].some((op) => op.startsWith("linear"))).toBe(true);
});

test("a printed profile has a line for each of the slowest operations, then sums, truncated to the width", () => {
  const operand = (...shape: number[]): ProfiledOperand => ({ dtype: "f32", shape });
  const operation = (op: string, seconds: number, flops?: number) => ({
    ...{ op, kernel: "k", inputs: [operand(2, 3)], outputs: [operand(2)], calls: 2, seconds, bytes: 1e6, flops },
  });
  const operations = [operation("linear", 0.5, 1e9), operation("add", 0.25), operation("mul", 0.125)];
  expect(formatProfile({ seconds: 1, operations }, { rows: 2 })).toBe(
    `
   %   ms  calls  ms/call  GFLOP/s     GB/s  op         kernel  operands
50.0  500      2      250     4.00  0.00400  linear     k       f32[2,3] → f32[2]
25.0  250      2      125           0.00800  add        k       f32[2,3] → f32[2]
12.5  125                                    1 more
12.5  125                                    elsewhere
`.slice(1, -1),
  );
  for (const line of formatProfile({ seconds: 1, operations }, { width: 20 }).split("\n"))
    expect(line.length).toBeLessThanOrEqual(20);
  expect(() => formatProfile({ seconds: 1, operations }, { rows: 0 })).toThrow(
    "rows: expected a whole number of at least 1, got 0",
  );
  expect(formatProfile({ seconds: 0, operations: [] })).toContain("elsewhere");
});

test("a worker that exits during its profile leaves no active profile", async () => {
  const script = `
    const { parentPort, workerData } = require("node:worker_threads");
    const addon = { exports: {} };
    process.dlopen(addon, workerData);
    addon.exports.startProfile();
    parentPort.postMessage("started");
    setInterval(() => {}, 1000);`;
  const path = addonPath();
  const worker = new Worker(script, { eval: true, workerData: path });
  await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  await expect(profile(() => 1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await worker.terminate();
  expect((await profile(() => 1)).result).toBe(1);
});
