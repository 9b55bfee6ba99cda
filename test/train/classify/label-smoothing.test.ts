// Label smoothing: loss and gradients against the definition over full logits, and its use in stages.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compile, crossEntropy, gradients, input, openDevice, Tensor, tensor } from "../../../lib/graph/index.ts";
import { toBf16 } from "../../../lib/graph/tensor.ts";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

const [rows, width, vocabulary, share, scale] = [4, 8, 50, 0.3, 0.6];

test("loss and gradients equal those over full logits; in bf16, the loss and the head's gradient come within 0.05", async () => {
  const drawn = (n: number, seed: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(seed + 7.3 * i) * 1.5);
  const [h, w] = [drawn(rows * width, 1), drawn(vocabulary * width, 2)];
  const targets = Int32Array.of(3, 49, -100, 0);
  const weights = Float32Array.of(0.5, 0.25, 0, 0.25);
  let loss = 0;
  const [dh, dw] = [new Float64Array(h.length), new Float64Array(w.length)];
  for (let r = 0; r < rows; r++) {
    const logits = Array.from({ length: vocabulary }, (_, v) => {
      let sum = 0;
      for (let c = 0; c < width; c++) sum += h[r * width + c]! * w[v * width + c]!;
      return scale * sum;
    });
    const lse = Math.log(logits.reduce((sum, z) => sum + Math.exp(z), 0));
    for (let v = 0; v < vocabulary; v++) {
      const wanted = (v === targets[r] ? 1 - share : 0) + share / vocabulary;
      loss -= weights[r]! * wanted * (logits[v]! - lse);
      const dz = scale * weights[r]! * (Math.exp(logits[v]! - lse) - wanted);
      for (let c = 0; c < width; c++) {
        dh[r * width + c]! += dz * w[v * width + c]!;
        dw[v * width + c]! += dz * h[r * width + c]!;
      }
    }
  }
  const device = openDevice();
  for (const [dtype, digits] of [
    ["f32", 5],
    ["bf16", 1],
  ] as const) {
    const program = compile(() => {
      const [x, weight] = [tensor("h", dtype, [rows, width]), tensor("w", dtype, [vocabulary, width])];
      const [t, of] = [input("targets", "i32", [rows]), input("weights", "f32", [rows])];
      const value = crossEntropy(x, weight, t, of, { labelSmoothing: share, scale });
      const [a, b] = gradients(value, [x, weight], input("one", "f32", [1]));
      return { value, a: a!, b: b! };
    });
    const stored = (numbers: Float32Array) => (dtype === "bf16" ? toBf16(numbers) : numbers);
    const tensors = new Map([
      ["h", await Tensor.from(device, dtype, [rows, width], stored(h))],
      ["w", await Tensor.from(device, dtype, [vocabulary, width], stored(w))],
    ]);
    const executable = program.bind(device, tensors);
    const out = await executable.run({ targets, weights, one: Float32Array.of(1) });
    expect(out.value![0]).toBeCloseTo(loss, digits);
    if (dtype === "f32") for (const [i, d] of dh.entries()) expect(out.a![i]).toBeCloseTo(d, 5);
    for (const [i, d] of dw.entries()) expect(out.b![i]).toBeCloseTo(d, digits);
    executable.dispose();
    for (const one of tensors.values()) one.dispose();
  }
});

test("stages train with label smoothing and evaluate without it; models that cap their logits are rejected", async () => {
  const folder = await mkdtemp(join(tmpdir(), "heddle-smoothing-"));
  const data = join(folder, "train.jsonl");
  await writeFile(data, sentences.map((text) => JSON.stringify({ text })).join("\n"));
  const newModel = async (config = {}) => tinyModel({ tokenizer: await tinyTokenizer() }, config);
  const common = {
    data,
    evalData: data,
    maxSteps: 1,
    perDeviceTrainBatchSize: 2,
    learningRate: 1e-9,
    maxSeqLength: 24,
  };
  const first = async (labelSmoothingFactor: number, stage: "pretrain" | "sft", config = {}) => {
    await using base = await newModel(config);
    const options = { ...common, labelSmoothingFactor };
    const losses: (number | undefined)[] = [];
    for await (const event of stage === "sft" ? sft(base, options) : pretrain(base, options))
      losses.push("loss" in event ? event.loss : event.evalLoss);
    return losses;
  };
  for (const stage of ["pretrain", "sft"] as const) {
    const [[plain, plainEval], [smooth, smoothEval]] = [await first(0, stage), await first(0.4, stage)];
    expect(smooth).not.toBe(plain);
    expect(Math.abs(smooth! - plain!)).toBeLessThan(1);
    expect(smoothEval).toBeCloseTo(plainEval!, 5);
  }
  await expect(first(0.1, "pretrain", { modelType: "gemma2", finalLogitSoftcapping: 30 })).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: "labelSmoothingFactor: expected 0 for a model that caps its logits, got 0.1",
  });
  await rm(folder, { recursive: true });
});
