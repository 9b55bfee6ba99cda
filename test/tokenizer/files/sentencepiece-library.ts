// Compares the ids of SentencePiece models with those of the SentencePiece library: Debian's python3-sentencepiece, or that of
// HEDDLE_PYTHON.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { fixtures } from "../../helpers/fixtures.ts";
import { generator, randomText } from "../generated.ts";
import { trainingText } from "../training-text.ts";

const candidates = [process.env.HEDDLE_PYTHON, "/usr/bin/python3", "python3"].filter((name) => name !== undefined);
const python = candidates.find((name) => spawnSync(name, ["-c", "import sentencepiece"]).status === 0);
if (!python)
  console.warn("python3-sentencepiece is not installed: SentencePiece models are not compared with the library");

const script = fileURLToPath(new URL("spm.py", import.meta.url));
function run(args: string[], input = ""): string {
  const { status, stdout, stderr } = spawnSync(python!, [script, ...args], {
    input,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  expect(stderr.trim()).toBe("");
  expect(status).toBe(0);
  return stdout;
}

const folder = mkdtempSync(join(tmpdir(), "heddle-sentencepiece-"));
afterAll(() => rmSync(folder, { recursive: true }));

const sample = trainingText(1200);
const words = sample.split(/\s+/u);

/** Random texts, and texts like the training data. */
function textsOf(seed: number, count: number): string[] {
  const random = generator(seed);
  const below = (most: number) => Math.floor(random() * most);
  return Array.from({ length: count }, () => {
    if (random() < 0.5) return randomText(random).toWellFormed();
    const chosen = Array.from({ length: 1 + below(12) }, () => words[below(words.length)]!);
    if (random() < 0.3) chosen.splice(below(chosen.length), 0, randomText(random).toWellFormed());
    return chosen.join(random() < 0.9 ? " " : "");
  });
}

// SentencePiece ends a text at U+0000 when it reads C strings.
const plain = (text: string) => text.replaceAll("\0", "");

async function expectSame(model: string, seed: number, count: number) {
  const tokenizer = await Tokenizer.load(model);
  const texts = textsOf(seed, count).map(plain);
  const input = texts.map((text) => JSON.stringify(text)).join("\n");
  const expected = run(["encode", model], `${input}\n`).trimEnd().split("\n");
  for (const [i, text] of texts.entries()) {
    const ids = [...tokenizer.encode(text, { addSpecialTokens: false })];
    if (JSON.stringify(ids) === JSON.stringify(JSON.parse(expected[i]!))) continue;
    expect({ text, ids }).toEqual({ text, ids: JSON.parse(expected[i]!) });
  }
}

/** Tests that each model gives the library's ids for `count` texts. */
export function describeSentencePiece(count: number): void {
  describe.skipIf(!python)("SentencePiece", () => {
    it.each([
      ["unigram", "450", "none"],
      ["unigram", "700", "bytes"],
      ["bpe", "700", "none"],
      ["bpe", "900", "bytes"],
    ])("gives equal ids for freshly trained %s models of %s pieces (fallback: %s)", async (kind, size, fallback) => {
      const text = join(folder, "text.txt");
      writeFileSync(text, sample);
      const prefix = join(folder, `${kind}-${fallback}`);
      run(["train", kind, size, fallback, text, prefix]);
      await expectSame(`${prefix}.model`, Number(size), count);
    });

    it.skipIf(!fixtures)("gives equal ids for Llama 2's model", async () => {
      await expectSame(join(fixtures!, "tokenizers/llama2/tokenizer.model"), 5, count);
    });
  });
}
