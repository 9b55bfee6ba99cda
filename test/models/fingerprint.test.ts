// The model fingerprint in session files.
import { expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { fingerprintOf } from "../../lib/models/fingerprint.ts";
import { tinyModel } from "../inference/helpers.ts";

const withEdit = async (of: LanguageModel, name: string, from: number, count: number) => {
  const tensor = of.model.weight(name);
  const values = (await tensor.read(from, count)) as Float32Array;
  await tensor.write(
    values.map((v) => v + 1),
    from,
  );
  const changed = await fingerprintOf(of.model, []);
  await tensor.write(values, from);
  return changed;
};

test("the fingerprint detects a changed element in any weight of a small model", async () => {
  await using own = tinyModel();
  const plain = await fingerprintOf(own.model, []);
  for (const name of own.model.languageWeightNames)
    for (const at of [0.01, 0.37, 0.99])
      expect(
        await withEdit(own, name, Math.floor(at * own.model.weight(name).elements), 1),
        `${name} at ${at}`,
      ).not.toBe(plain);
  expect(await fingerprintOf(own.model, [])).toBe(plain);
});

test("the fingerprint detects a contiguous change of 1/60 of a large matrix, and a changed element of a small one", async () => {
  await using own = tinyModel({}, { vocabSize: 140_000 });
  const plain = await fingerprintOf(own.model, []);
  const { elements, bytes } = own.model.weight("model.embed_tokens.weight");
  expect(bytes).toBeGreaterThan(16 << 20);
  const part = Math.ceil(elements / 60);
  for (let i = 0; i < 60; i += 7) {
    const from = Math.min(i * part, elements - part);
    expect(await withEdit(own, "model.embed_tokens.weight", from, part), `part ${i}`).not.toBe(plain);
  }
  expect(await withEdit(own, "model.layers.1.mlp.up_proj.weight", 700, 1)).not.toBe(plain);
});
