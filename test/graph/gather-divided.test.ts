// Programs whose weights are divided among ranks. A device without a world is the only rank, so each weight is collected from a single part.
import { expect, test } from "vitest";
import {
  assign,
  cast,
  compile,
  gradients,
  input,
  linear,
  openDevice,
  profile,
  recomputable,
  sum,
  Tensor,
  tanh,
  tensor,
  type Value,
} from "../../lib/graph/index.ts";
import { divideTensor } from "../../lib/graph/trace.ts";

const [WIDTH, ROWS, LAYERS] = [64, 8, 6];
const device = openDevice({ device: "cpu", threads: 1 });
const weightNames = Array.from({ length: LAYERS }, (_, i) => `w${i}`);
const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(seed * 99 + i * 1.7) / 8);

/** Traces layers, and the gradients of their weights. The parts of divided weights are tensors `part.<name>`. */
function program({
  divided,
  bf16 = false,
  recompute = false,
}: {
  divided: boolean;
  bf16?: boolean;
  recompute?: boolean;
}) {
  return compile(() => {
    const matrices = weightNames.map((name) => tensor(name, "f32", [WIDTH, WIDTH]));
    let x: Value = input("x", "f32", [ROWS, WIDTH]);
    for (const w of matrices) x = recomputable(() => tanh(linear(x, bf16 ? cast(w, "bf16") : w)));
    const loss = sum(x);
    gradients(loss, matrices, input("seed", "f32", [1]), {
      recompute,
      collect: (g, i) => assign(tensor(`g.${weightNames[i]}`, "f32", [WIDTH, WIDTH]), g),
    });
    for (const [i, w] of divided ? matrices.entries() : []) {
      const own = tensor(`part.${weightNames[i]}`, "f32", [WIDTH * WIDTH]);
      divideTensor(w, { own, first: 0, ends: [WIDTH * WIDTH] });
    }
    return { loss };
  });
}

async function run(options: Parameters<typeof program>[0]) {
  const made = program(options);
  const tensors = new Map<string, Tensor>();
  for (const [i, name] of weightNames.entries()) {
    const data = numbers(WIDTH * WIDTH, i);
    if (options.divided) tensors.set(`part.${name}`, await Tensor.from(device, "f32", [WIDTH * WIDTH], data));
    else tensors.set(name, await Tensor.from(device, "f32", [WIDTH, WIDTH], data));
    tensors.set(`g.${name}`, Tensor.zeros(device, "f32", [WIDTH, WIDTH]));
  }
  const bound = made.bind(device, tensors);
  const inputs = { x: numbers(ROWS * WIDTH, 77), seed: Float32Array.of(1) };
  const { result, profile: profiled } = await profile(() => bound.run(inputs));
  const { operations } = profiled;
  const found = {
    loss: result.loss[0]!,
    gradients: await Promise.all(weightNames.map((name) => tensors.get(`g.${name}`)!.toFloat32())),
  };
  const calls = operations.filter(({ op }) => op === "all_gather").reduce((total, { calls }) => total + calls, 0);
  const casts = operations.some(({ op }) => op === "cast");
  bound.dispose();
  for (const one of tensors.values()) one.dispose();
  return { found, calls, casts, arenaBytes: made.arenaBytes };
}

test.each([
  ["in f32", {}],
  ["with matrices in bf16", { bf16: true }],
  ["with recomputed layers", { recompute: true }],
])("a program with divided weights has the same results: %s", async (_, more) => {
  const whole = await run({ divided: false, ...more });
  const divided = await run({ divided: true, ...more });
  expect(whole.calls).toBe(0);
  expect(divided.found).toEqual(whole.found);
});

test("a weight is collected for the forward and again for the backward pass, unless the two uses are close", async () => {
  const { calls } = await run({ divided: true });
  // The first layer's input needs no gradient, so its backward pass does not read the weight. The weights of the last two
  // layers stay collected between the passes.
  expect(calls).toBe(LAYERS + LAYERS - 3);
});

test("the ranks exchange weights in the dtype that the matrix products read", async () => {
  expect((await run({ divided: false, bf16: true })).casts).toBe(true);
  const { calls, casts } = await run({ divided: true, bf16: true });
  expect([calls, casts]).toEqual([LAYERS + LAYERS - 3, false]);
});

test("at most three whole weights exist at a time", async () => {
  const bytes = 4 * WIDTH * WIDTH;
  const whole = await run({ divided: false });
  const divided = await run({ divided: true });
  expect(divided.arenaBytes - whole.arenaBytes).toBeGreaterThanOrEqual(bytes);
  expect(divided.arenaBytes - whole.arenaBytes).toBeLessThanOrEqual(3 * bytes);
});
