// Names in configurations that are not strings. Messages must not convert them, because that may throw.
import { expect, test } from "vitest";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import { failureOf } from "../../inference/helpers.ts";

const base = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 1, vocab_size: 8 };

test.each([
  ["model_type", { model_type: { toString: {} } }],
  ["architectures", { model_type: "gemma3", architectures: [{ toString: {} }], text_config: base }],
])("rejects or ignores an object with its own toString in %s", async (_, config) => {
  const outcome = await failureOf(() => {
    parseModelConfig(JSON.parse(JSON.stringify({ ...base, ...config })), "config.json");
    throw Object.assign(new Error("loaded"), { code: "LOADED" });
  });
  expect(["LOADED", "UNSUPPORTED", "INVALID_FILE", "INVALID_ARGUMENT"]).toContain(outcome.code);
});
