// The linear layers that fp8 training rounds: those of attention and feed-forward blocks, but no router, head or adapter matrix.
import { expect, test } from "vitest";
import { VALUE_HEAD } from "../../lib/formats/config/heads.ts";
import type { Value } from "../../lib/graph/index.ts";
import { record } from "../../lib/graph/trace.ts";
import { type Rows, rowInputs, sequenceForward } from "../../lib/models/forward.ts";
import { tinyModel } from "../inference/helpers.ts";

const nameOf = ({ source }: Value): string =>
  source.kind === "tensor" ? source.name : source.kind === "node" ? nameOf(source.node.inputs[0]!) : "";

/** Returns the names of the weights of all linear nodes, by whether they round to 8-bit floats. Layers beyond the first are left out. */
function layersOf(model: ReturnType<typeof tinyModel>, fp8: boolean, dtype: "f32" | "bf16" = "f32") {
  const { trace } = record(() => {
    const rows: Rows = rowInputs(8);
    const { hidden, linear } = sequenceForward(model.model, rows, { sequenceLength: 8, dtype, fp8 });
    if (model.model.has(`${VALUE_HEAD}.weight`)) linear(hidden, VALUE_HEAD);
  });
  const names = (op: string) =>
    trace.nodes
      .filter((node) => node.op === op)
      .map((node) => nameOf(node.inputs[1]!).replace(/^(model|transformer)\.|\.weight$/g, ""))
      .filter((name) => !/(layers|h)\.[1-9]/.test(name))
      .sort();
  return { rounded: names("fp8_product"), exact: names("linear") };
}

const block = ["k_proj", "o_proj", "q_proj", "v_proj"].map((name) => `layers.0.self_attn.${name}`);

test.each(["f32", "bf16"] as const)(
  "rounds all linear layers of a dense model in %s, also transposed ones",
  async (dtype) => {
    await using llama = tinyModel({}, { modelType: "llama" });
    const mlp = ["down_proj", "gate_proj", "up_proj"].map((name) => `layers.0.mlp.${name}`);
    expect(layersOf(llama, true, dtype)).toEqual({ rounded: [...mlp, ...block], exact: [] });
    expect(layersOf(llama, false, dtype)).toEqual({ rounded: [], exact: [...mlp, ...block] });
    await using gpt2 = tinyModel({}, { modelType: "gpt2", numKeyValueHeads: 4 });
    const { rounded, exact } = layersOf(gpt2, true, dtype);
    expect(rounded).toEqual(["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"].map((name) => `h.0.${name}`));
    expect(exact).toEqual([]);
  },
);

test("does not round routers and the gate of a shared expert", async () => {
  await using model = tinyModel(
    {},
    { modelType: "qwen2_moe", numExperts: 4, numExpertsPerTok: 2, intermediateSize: 32 },
  );
  const { rounded, exact } = layersOf(model, true);
  expect(exact).toEqual(["layers.0.mlp.gate", "layers.0.mlp.shared_expert_gate"]);
  expect(rounded).toEqual(expect.arrayContaining(block));
});

test("does not round a head", async () => {
  await using model = tinyModel({}, { modelType: "llama" });
  await model.model.addValueHead();
  expect(layersOf(model, true).exact).toEqual([VALUE_HEAD]);
});

test("does not round the matrices of an adapter", async () => {
  await using model = tinyModel({}, { modelType: "llama" });
  await model.model.addAdapter("default", { targetModules: ["q_proj"] });
  const { rounded, exact } = layersOf(model, true);
  expect(rounded).toContain("layers.0.self_attn.q_proj");
  expect(exact.every((name) => /lora_[AB]/.test(name))).toBe(true);
  expect(exact).toHaveLength(2);
});
