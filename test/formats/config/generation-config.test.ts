import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { generationConfigToJson, readGenerationConfig } from "../../../lib/formats/config/generation-config.ts";
import { expectError, temporaryFolder } from "../helpers.ts";

test("reads and writes generation_config.json, and rejects invalid values", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "generation_config.json");
  expect(await readGenerationConfig(folder)).toEqual({});
  const json = { eos_token_id: [1, 2], bos_token_id: 1, temperature: 0.6, top_p: 0.9, do_sample: true, unknown: {} };
  writeFileSync(path, JSON.stringify(json));
  const config = await readGenerationConfig(folder);
  expect(config).toEqual({ eosTokenIds: [1, 2], bosTokenId: 1, temperature: 0.6, topP: 0.9, doSample: true });
  expect(generationConfigToJson(config)).toEqual({ ...json, unknown: undefined });
  const beams = { num_beams: 4, length_penalty: -0.5, early_stopping: "never" };
  writeFileSync(path, JSON.stringify(beams));
  expect(await readGenerationConfig(folder)).toEqual({ numBeams: 4, lengthPenalty: -0.5, earlyStopping: "never" });
  expect(generationConfigToJson(await readGenerationConfig(folder))).toEqual(beams);
  writeFileSync(path, '{"temperature":"hot"}');
  await expectError(
    () => readGenerationConfig(folder),
    "INVALID_FILE",
    /temperature: expected a number of at least 0, got "hot"/,
  );
  for (const [key, value, expected] of [
    ["temperature", -1, "a number of at least 0"],
    ["top_k", 0.5, "a whole number of at least 0"],
    ["top_p", 0, "a number above 0 and at most 1"],
    ["min_p", 2, "a number of 0 to 1"],
    ["repetition_penalty", 0, "a number above 0"],
    ["num_beams", 0, "a whole number of at least 1"],
    ["early_stopping", 3, 'true, false or "never"'],
  ] as const) {
    writeFileSync(path, JSON.stringify({ [key]: value }));
    const message = new RegExp(`generation_config.json: ${key}: expected ${expected}, got ${value}`);
    await expectError(() => readGenerationConfig(folder), "INVALID_FILE", message);
  }
  writeFileSync(path, "null");
  await expectError(
    () => readGenerationConfig(folder),
    "INVALID_FILE",
    /generation_config.json: expected an object, got null/,
  );
});
