import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { generationConfigToJson, readGenerationConfig } from "../../../lib/formats/config/generation-config.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { tinyModel } from "../../inference/helpers.ts";
import { expectError, temporaryFolder } from "../helpers.ts";

test("reads and writes generation_config.json, and rejects invalid content", async () => {
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
  writeFileSync(path, "null");
  await expectError(
    () => readGenerationConfig(folder),
    "INVALID_FILE",
    /generation_config.json: expected an object, got null/,
  );
  for (const [key, value, expected] of [
    ["eos_token_id", "</s>", "a token id or an array of them"],
    ["pad_token_id", "0", "a number"],
  ] as const) {
    writeFileSync(path, JSON.stringify({ [key]: value, top_p: 2 }));
    const message = new RegExp(`generation_config.json: ${key}: expected ${expected}, got "${value}"`);
    await expectError(() => readGenerationConfig(folder), "INVALID_FILE", message);
  }
});

test("keeps settings of 0 when it reads and writes them", async () => {
  const folder = temporaryFolder();
  const json = { temperature: 0, top_k: 0, top_p: 0, min_p: 0, max_new_tokens: 0 };
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify(json));
  const config = await readGenerationConfig(folder);
  expect(config).toEqual({ temperature: 0, topK: 0, topP: 0, minP: 0, maxNewTokens: 0 });
  expect(generationConfigToJson(config)).toEqual(json);
});

describe("defaults that cannot be used", () => {
  const warnings: string[] = [];
  beforeEach(() => {
    warnings.length = 0;
    vi.spyOn(process, "emitWarning").mockImplementation((warning) => void warnings.push(String(warning)));
  });
  afterEach(() => vi.restoreAllMocks());

  test.each([
    ["temperature", -1, "a number of at least 0"],
    ["temperature", "hot", "a number of at least 0"],
    ["temperature", 1e39, "a number of at least 0"],
    ["top_k", 0.5, "a whole number from 0 to 1073741824"],
    ["top_k", -1, "a whole number from 0 to 1073741824"],
    ["top_p", -0.5, "a number from 0 to 1"],
    ["min_p", 2, "a number from 0 to 1"],
    ["repetition_penalty", 0, "a number above 0"],
    ["repetition_penalty", 1e-300, "a number above 0"],
    ["num_beams", 0, "a whole number of at least 1"],
    ["early_stopping", 3, 'true, false or "never"'],
    ["do_sample", "yes", "true or false"],
    ["max_new_tokens", -1, "a whole number of at least 0"],
  ])("%s %o gives a warning and is ignored", async (key, value, expected) => {
    const folder = temporaryFolder();
    const path = join(folder, "generation_config.json");
    writeFileSync(path, JSON.stringify({ eos_token_id: 2, [key]: value }));
    expect(await readGenerationConfig(folder)).toEqual({ eosTokenIds: [2] });
    expect(warnings).toEqual([
      `${path}: ${key}: expected ${expected}, got ${JSON.stringify(value)}; the default is ignored`,
    ]);
  });

  test("do not keep a model from loading and generating", async () => {
    const folder = temporaryFolder();
    await using saved = tinyModel({});
    await saved.save(folder);
    writeFileSync(join(folder, "generation_config.json"), '{"top_p": 0, "top_k": -1, "repetition_penalty": 0}');
    await using model = await LanguageModel.load(folder);
    expect(warnings).toHaveLength(2);
    // A top_p of 0 is valid: only the most likely token remains.
    const [drawn, greedy] = [
      await model.complete([1, 2, 3], { maxTokens: 8, temperature: 1, seed: 1 }),
      await model.complete([1, 2, 3], { maxTokens: 8, temperature: 0 }),
    ];
    expect(drawn.tokens).toEqual(greedy.tokens);
  });
});
