import { expect, test } from "vitest";
import { openDevice, Tensor } from "../../lib/graph/index.ts";
import { Optimizer } from "../../lib/optim/optimizer.ts";

const device = openDevice();

test("AdamW matches a hand computation: bias correction, epsilon, clipping by the global norm, and decay of matrices only", async () => {
  const shapes = {
    "a.weight": [2, 3],
    "a.bias": [3],
    "experts.up.weight": [2, 2, 2],
    "experts.up.bias": [2, 3], // one vector per expert
    "a.lora_A.bias": [1, 3], // the matrix A of an adapter over a layer, though its name ends with "bias"
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

test("groups match PyTorch's param_groups: their rate and decay apply to vectors too, and one norm clips all gradients", async () => {
  const shapes = { "a.weight": [2, 3], "a.bias": [3], "b.weight": [2, 2], "b.bias": [2], "c.weight": [3, 2] };
  const names = Object.keys(shapes) as (keyof typeof shapes)[];
  const [beta1, beta2, eps, weightDecay, maxGradNorm] = [0.8, 0.9, 1e-2, 0.3, 1];
  const groups = [
    { names: new Set(["a.weight", "a.bias"]), rateRatio: 0.25, weightDecay: 0.5 },
    { names: new Set(["b.weight"]), weightDecay: 0 },
  ];
  /** By parameter, as in PyTorch's param_groups: its lr divided by the learning rate, and its weight_decay. */
  const settings: Record<keyof typeof shapes, [rate: number, decay: number]> = {
    "a.weight": [0.25, 0.5],
    "a.bias": [0.25, 0.5],
    "b.weight": [1, 0],
    "b.bias": [1, 0], // in no group, so a vector has no decay
    "c.weight": [1, weightDecay],
  };
  const number = (i: number, t: number) => Math.sin(1.3 * i + 2.9 * t);
  const size = (name: keyof typeof shapes) => shapes[name].reduce((a, b) => a * b, 1);
  const parameters = new Map<string, Tensor>();
  for (const name of names) {
    const values = Float32Array.from({ length: size(name) }, (_, i) => number(i + name.length, 0));
    parameters.set(name, await Tensor.fromOwn(device, "f32", shapes[name], values));
  }
  const optimizer = new Optimizer(device, parameters, { beta1, beta2, eps, weightDecay, maxGradNorm, groups });
  const expected = names.map((name) =>
    Array.from({ length: size(name) }, (_, i) => ({ w: number(i + name.length, 0), m: 0, v: 0 })),
  );
  for (let t = 1; t <= 4; t++) {
    const gradients = names.map((name, n) => Array.from({ length: size(name) }, (_, i) => number(i + 5 * n, t)));
    for (const [n, name] of names.entries())
      await optimizer.gradients.get(`gradient.${name}`)!.writeOwn(Float32Array.from(gradients[n]!));
    const norm = Math.hypot(...gradients.flat());
    expect(await optimizer.step(0.1 / t)).toBeCloseTo(norm, 5);
    for (const [n, name] of names.entries()) {
      const [ratio, decay] = settings[name];
      const rate = (0.1 / t) * ratio;
      for (const [i, one] of expected[n]!.entries()) {
        const g = Math.min(1, maxGradNorm / (norm + 1e-6)) * gradients[n]![i]!;
        one.m = beta1 * one.m + (1 - beta1) * g;
        one.v = beta2 * one.v + (1 - beta2) * g * g;
        one.w -= rate * decay * one.w;
        one.w -= (rate * (one.m / (1 - beta1 ** t))) / (Math.sqrt(one.v / (1 - beta2 ** t)) + eps);
      }
    }
  }
  for (const [n, name] of names.entries()) {
    const got = await parameters.get(name)!.toFloat32();
    for (const [i, { w }] of expected[n]!.entries()) expect(got[i], `${name}[${i}]`).toBeCloseTo(w, 5);
  }
  optimizer.dispose();
});

test("a group of Muon's matrices scales Muon's rate and replaces its decay", async () => {
  const values = Float32Array.from({ length: 12 }, (_, i) => Math.sin(3 * i));
  const gradient = Float32Array.from({ length: 12 }, (_, i) => Math.cos(5 * i));
  const stepped = async (
    rateRatio: number,
    weightDecay: number,
    group?: { rateRatio: number; weightDecay: number },
  ) => {
    const w = await Tensor.fromOwn(device, "f32", [3, 4], Float32Array.from(values));
    const names = new Set(["w"]);
    const optimizer = new Optimizer(device, new Map([["w", w]]), {
      muon: { names, rateRatio, weightDecay },
      ...(group && { groups: [{ names, ...group }] }),
    });
    for (let i = 0; i < 3; i++) {
      await optimizer.gradients.get("gradient.w")!.writeOwn(gradient);
      await optimizer.step(0.125);
    }
    optimizer.dispose();
    return w.toFloat32();
  };
  const expected = await stepped(2, 0.25);
  expect(await stepped(8, 0.5, { rateRatio: 0.25, weightDecay: 0.25 })).toEqual(expected);
  expect(await stepped(8, 0.25)).not.toEqual(expected);
});
