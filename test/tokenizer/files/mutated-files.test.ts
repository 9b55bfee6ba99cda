// Every loader turns damaged files into a HeddleError or a working tokenizer, never another exception, a crash or a hang.
// hostile.test.ts has hand-picked damage; this file has random damage.
import { describe, expect, it } from "vitest";
import { Tokenizer, type TokenizerTexts } from "../../../lib/tokenizer/index.ts";
import { families } from "../generated.ts";
import { generator } from "../generated-text.ts";
import { added, byteLevelJson, sentencePieceJson, splitBy } from "../samples.ts";
import { loaders, survives } from "./loaders.ts";
import { damagedBytes, damagedText } from "./mutated.ts";

const rounds = 400;
/** Loads randomly damaged copies. The intact file must load, and some damage must be detected. */
function check<T>(name: string, file: T, damage: (file: T, random: () => number) => T, load: (file: T) => Tokenizer) {
  it(`${name} survives random damage`, () => {
    expect(survives(() => load(file), String)).toBe(true);
    const random = generator([...name].reduce((sum, c) => sum * 31 + c.charCodeAt(0), 7));
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      const damaged = damage(file, random);
      const shown = () => `round ${round}: ${JSON.stringify(damaged instanceof Uint8Array ? [...damaged] : damaged)}`;
      if (!survives(() => load(damaged), shown)) refused++;
    }
    expect(refused).toBeGreaterThan(rounds / 20);
  });
}

const fromTexts = (make: (file: string) => TokenizerTexts) => (file: string) => Tokenizer.fromFiles(make(file));
const merges: [string, string][] = [
  ["a", "b"],
  ["ab", "a"],
  ["Ġ", "a"],
];

describe("tokenizer.json", () => {
  const small = {
    ...byteLevelJson(merges, { added_tokens: [added(260, "<s>"), added(261, "</s>", { lstrip: true })] }),
  };
  check(
    "byte-level",
    JSON.stringify({ ...small, pre_tokenizer: splitBy("\\p{L}+| ?\\S") }),
    damagedText,
    fromTexts((tokenizer) => ({ tokenizer })),
  );
  check(
    "SentencePiece",
    JSON.stringify(sentencePieceJson(["▁", "a", "▁a"], [["▁", "a"]])),
    damagedText,
    fromTexts((tokenizer) => ({ tokenizer })),
  );
  const all = families();
  for (const name of ["bert", "unigram-first", "unigram-t5", "clip", "prefix-bpe", "byte-level-inside"]) {
    // Long vocabularies would absorb most of the damage, so shorten them.
    const json = structuredClone(all[name]!) as { model: { vocab: object; merges?: unknown[] } };
    const { model } = json;
    if (Array.isArray(model.vocab)) model.vocab = model.vocab.slice(0, 60);
    else if (!model.merges) model.vocab = Object.fromEntries(Object.entries(model.vocab).slice(0, 60));
    check(
      name,
      JSON.stringify(json),
      damagedText,
      fromTexts((tokenizer) => ({ tokenizer })),
    );
  }
});

describe.each(Object.entries(loaders))("%s", (name, { seeds, isText, load }) => {
  for (const [index, seed] of seeds.entries()) {
    const damage = (file: Uint8Array, random: () => number) =>
      isText ? Buffer.from(damagedText(Buffer.from(file).toString(), random)) : damagedBytes(file, random);
    check(`${name} ${index}`, seed, damage, load);
  }
});
