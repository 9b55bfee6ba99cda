// Names in a configuration may be values other than strings. Error messages must not convert these values to strings, because that may throw.
import { test } from "vitest";
import type { HeddleErrorCode } from "../../../lib/core/errors.ts";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import "../../../lib/models/registry.ts";
import { expectError } from "../helpers.ts";

const odd = { toString: {} };
const base = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 1, vocab_size: 8 };

test.each<[string, object, HeddleErrorCode, RegExp]>([
  ["model_type", { model_type: odd }, "UNSUPPORTED", /config\.json: model_type an object is not supported/],
  [
    "architectures",
    { model_type: "gemma3", architectures: [odd], text_config: base },
    "INVALID_FILE",
    /config\.json: architectures\.0: expected a text, got an object$/,
  ],
])("rejects an object with its own toString in %s", async (_, config, code, message) => {
  const read = () => parseModelConfig(JSON.parse(JSON.stringify({ ...base, ...config })), "config.json");
  await expectError(read, code, message);
});
