// Adapter folders that claim far more memory than their model needs, as sparse files that take no disk space.
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tinyModel } from "../../inference/helpers.ts";
import { expectError, temporaryFolder, u64 } from "../helpers.ts";

let folders = 0;
const parent = temporaryFolder();

/** A folder of one adapter with tensors of these shapes, stored as holes of a sparse file. */
function adapter(r: number, tensors: Record<string, number[]>): string {
  const folder = join(parent, `adapter-${folders++}`);
  mkdirSync(folder);
  const config = { peft_type: "LORA", task_type: "CAUSAL_LM", r, lora_alpha: 8, target_modules: ["q_proj"] };
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(config));
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of Object.entries(tensors)) {
    const begin = end;
    end += 4 * shape.reduce((a, b) => a * b, 1);
    header[`base_model.model.${name}`] = { dtype: "F32", shape, data_offsets: [begin, end] };
  }
  const text = JSON.stringify(header);
  const head = Buffer.from(text.padEnd(text.length + ((8 - (text.length % 8)) % 8)));
  const path = join(folder, "adapter_model.safetensors");
  writeFileSync(path, Buffer.concat([u64(head.length), head]));
  truncateSync(path, 8 + head.length + end);
  return folder;
}

const layer = "model.layers.0.self_attn.q_proj";
const pair = (a: number[], b: number[]) => ({ [`${layer}.lora_A.weight`]: a, [`${layer}.lora_B.weight`]: b });

test("rejects an impossible rank in the configuration or in the tensors", async () => {
  await using model = tinyModel();
  const [outputs, inputs] = model.model.weight(`${layer}.weight`).shape as [number, number];
  const refuses = (folder: string, message: RegExp) =>
    expectError(() => model.loadAdapter(folder), "INVALID_FILE", message);
  const huge = 2 ** 27;
  await refuses(adapter(huge, pair([huge, inputs], [outputs, huge])), /r: expected at most 4096, got 134217728/);
  await refuses(
    adapter(8, pair([huge, inputs], [outputs, huge])),
    /model\.layers\.0\.self_attn\.q_proj: expected a rank of at most 4096, got 134217728/,
  );
  // Tensors that fit no layer are rejected before they are read.
  await refuses(adapter(8, pair([8, huge], [outputs, 8])), /q_proj: expected A \(r, \d+\) and B/);
  await refuses(adapter(8, { [`${layer}.lora_B.weight`]: [outputs, huge] }), /q_proj: expected A \(r, \d+\) and B/);
  await refuses(adapter(8, { "lm_head.weight": [huge, inputs] }), /lm_head\.weight|low-rank updates/);
  await refuses(
    adapter(8, { ...pair([8, inputs], [outputs, 8]), [`${layer}.lora_A.default.weight`]: [8, inputs] }),
    /expected one tensor for each module, got two for model\.layers\.0\.self_attn\.q_proj/,
  );
  expect(model.model.adapters.size).toBe(0);
  await model.loadAdapter(adapter(8, pair([8, inputs], [outputs, 8])));
  expect(model.model.adapters.size).toBe(1);
});
