import { expect, test } from "vitest";
import { openDevice, Tensor } from "../../lib/graph/index.ts";
import { Optimizer } from "../../lib/optim/optimizer.ts";

const device = openDevice();

test("AdamW by hand: bias correction, epsilon, clipping by the norm of all, decay of matrices alone", async () => {
  const shapes = {
    "a.weight": [2, 3],
    "a.bias": [3],
    "experts.up.weight": [2, 2, 2],
    "experts.up.bias": [2, 3], // a vector an expert
    "a.lora_A.bias": [1, 3], // of an adapter with that name
    "norm.weight": [4],
  };
  const decayed = ["a.weight", "experts.up.weight", "a.lora_A.bias"];
  const [beta1, beta2, eps, weightDecay, maxGradNorm] = [0.8, 0.9, 1e-2, 0.3, 1];
  const number = (i: number, t: number) => Math.sin(1.7 * i + 2.3 * t);
  const names = Object.keys(shapes) as (keyof typeof shapes)[];
  const size = (name: keyof typeof shapes) => shapes[name].reduce((a, b) => a * b, 1);
  const start = (name: string, i: number) => number(i + name.length, 0);
  const parameters = new Map<string, Tensor>();
  for (const name of names) {
    const values = Float32Array.from({ length: size(name) }, (_, i) => start(name, i));
    parameters.set(name, await Tensor.fromOwn(device, "f32", shapes[name], values));
  }
  const optimizer = new Optimizer(device, parameters, { beta1, beta2, eps, weightDecay, maxGradNorm });
  const expected = names.map((name) =>
    Array.from({ length: size(name) }, (_, i) => ({ w: start(name, i), m: 0, v: 0 })),
  );
  for (let t = 1; t <= 3; t++) {
    const rate = 0.1 / t;
    const scale = t === 2 ? 0.01 : 1; // the second step's gradient is too small to be clipped
    const gradients = names.map((name, n) =>
      Array.from({ length: size(name) }, (_, i) => scale * number(i + 9 * n, t)),
    );
    for (const [n, name] of names.entries())
      await optimizer.gradients.get(`gradient.${name}`)!.writeOwn(Float32Array.from(gradients[n]!));
    const norm = Math.hypot(...gradients.flat());
    expect(norm > maxGradNorm).toBe(t !== 2);
    expect(await optimizer.step(rate)).toBeCloseTo(norm, 5);
    const factor = Math.min(1, maxGradNorm / (norm + 1e-6));
    for (const [n, name] of names.entries())
      for (const [i, one] of expected[n]!.entries()) {
        const g = factor * gradients[n]![i]!;
        one.m = beta1 * one.m + (1 - beta1) * g;
        one.v = beta2 * one.v + (1 - beta2) * g * g;
        const kept = decayed.includes(name) ? one.w * (1 - rate * weightDecay) : one.w;
        one.w = kept - (rate * (one.m / (1 - beta1 ** t))) / (Math.sqrt(one.v / (1 - beta2 ** t)) + eps);
      }
  }
  for (const [n, name] of names.entries()) {
    const got = await parameters.get(name)!.toFloat32();
    for (const [i, { w }] of expected[n]!.entries()) expect(got[i], `${name}[${i}]`).toBeCloseTo(w, 5);
  }
  optimizer.dispose();
});
