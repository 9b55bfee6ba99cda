// A mapped model file that another program truncates: the lost pages raise a signal when a kernel touches them.
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { failureOf, tinyModel } from "./helpers.ts";

test("a truncated file fails every call that uses it, and no other", async () => {
  const folder = mkdtempSync(join(tmpdir(), "heddle-truncated-"));
  try {
    const other = tinyModel();
    const prompt = [5, 250, 99];
    const options = { maxTokens: 8, temperature: 0, ignoreEos: true };
    const expected = await other.complete(prompt, options);
    await tinyModel({}, { hiddenSize: 128, intermediateSize: 512 }).save(folder);
    const model = await LanguageModel.load(folder);
    await model.complete(prompt, options);
    const file = join(folder, readdirSync(folder).find((name) => name.endsWith(".safetensors"))!);
    expect(statSync(file).size).toBeGreaterThan(100_000);
    truncateSync(file, 5000);
    for (let again = 0; again < 2; again++) {
      const { code, message } = await failureOf(() => model.complete(prompt, options));
      expect(code).toBe("IO");
      expect(message).toMatch(/truncated while it was in use/);
    }
    expect((await other.complete(prompt, options)).tokens).toEqual(expected.tokens);
    await model.dispose();
    await other.dispose();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
