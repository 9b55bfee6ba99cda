// Targets with nearly all of the probability, whose log-probability and gradient are small differences of large values.
import { expect, test } from "vitest";
import { compile, gradients, input, mul, openDevice, sum, tokenLogprob, type Value } from "../../lib/graph/index.ts";
import { generator } from "./harness.ts";

const [rows, width, vocab, scale] = [8, 40, 9, 20];
const random = generator(3);
const h = Float32Array.from({ length: rows * width }, () => (random() - 0.5) * 0.2);
const w = Float32Array.from({ length: vocab * width }, () => (random() - 0.5) * 0.2);
const targets = Int32Array.from({ length: rows }, (_, i) => i);
for (let i = 0; i < rows; i++) for (const x of [h, w]) x[i * width + i] = 0.9;

/** Log-probabilities and the gradient of their sum with respect to h, in double. */
function expected() {
  const logprob = new Float64Array(rows);
  const dh = new Float64Array(rows * width);
  for (let i = 0; i < rows; i++) {
    const logits = Array.from({ length: vocab }, (_, v) => {
      let dot = 0;
      for (let d = 0; d < width; d++) dot += h[i * width + d]! * w[v * width + d]!;
      return scale * dot;
    });
    const others = logits.map((x, v) => (v === targets[i] ? 0 : Math.exp(x - logits[targets[i]!]!)));
    const rest = others.reduce((a, b) => a + b, 0);
    logprob[i] = -Math.log1p(rest);
    for (const [v, other] of others.entries()) {
      const gradient = (scale * (v === targets[i] ? rest : -other)) / (1 + rest);
      for (let d = 0; d < width; d++) dh[i * width + d]! += gradient * w[v * width + d]!;
    }
  }
  return { logprob, dh };
}

const worst = (got: Float32Array, truth: Float64Array) =>
  Math.max(...truth.map((t, i) => Math.abs(got[i]! - t))) / Math.max(...truth.map(Math.abs));

test.each([true, false])(
  "log-probabilities of confident targets are precise, and so are their gradients (gradients computed: %s)",
  async (fused) => {
    const device = openDevice({ threads: 2 });
    const program = compile((): Record<string, Value> => {
      const [H, W] = [input("h", "f32", [rows, width]), input("w", "f32", [vocab, width])];
      const { logprob } = tokenLogprob(H, W, input("targets", "i32", [rows]), { scale });
      if (!fused) return { logprob };
      const [dh] = gradients(sum(mul(logprob, input("one", "f32", [rows]))), [H], input("upstream", "f32", [1]));
      return { logprob, dh: dh! };
    });
    const bound = program.bind(device, new Map());
    const inputs = {
      h,
      w,
      targets,
      ...(fused && { one: new Float32Array(rows).fill(1), upstream: Float32Array.of(1) }),
    };
    const got = (await bound.run(inputs)) as Record<string, Float32Array>;
    bound.dispose();
    const truth = expected();
    expect(Math.max(...truth.logprob.map(Math.abs))).toBeLessThan(5e-3);
    expect(worst(got.logprob!, truth.logprob)).toBeLessThan(2e-5);
    if (fused) expect(worst(got.dh!, truth.dh)).toBeLessThan(2e-5);
  },
);
