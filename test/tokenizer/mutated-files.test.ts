// Every loader on damaged files: a HeddleError that says what is wrong, or a tokenizer that works; never another exception, a crash or
// a hang. hostile.test.ts has the damage that someone thought of, this the rest.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { HeddleError, Tokenizer, type TokenizerTexts } from "../../lib/tokenizer/index.ts";
import { families } from "./generated.ts";
import { generator } from "./generated-text.ts";
import { damagedBytes, damagedText } from "./mutated.ts";
import { added, byteLevelJson, byteNames, sentencePieceJson, splitBy } from "./samples.ts";

const sample = "It's 12 o'clock, déjà vu 日本 <s> </s>  \ud800\n\n";
/** Milliseconds of processor time for a file of a few kilobytes: what is right takes about one, a loop that never ends all. */
const limit = 2000;

/** Loads and uses what it loaded. Says whether that worked; what is thrown must be a HeddleError of the kind a file may cause. */
function survives(load: () => Tokenizer, shown: () => string): boolean {
  const before = process.cpuUsage();
  let works = false;
  try {
    const tokenizer = load();
    const { ids } = tokenizer.encodeWithOffsets(sample, { allowSpecial: true });
    tokenizer.decode(ids);
    tokenizer.decode(tokenizer.encode(sample.repeat(20)), { skipSpecialTokens: true });
    const decoder = tokenizer.decoder();
    for (const id of ids) decoder.push(id);
    decoder.flush();
    tokenizer.encodePair("a", "b");
    tokenizer.files();
    works = true;
  } catch (error) {
    expect(error, shown()).toBeInstanceOf(HeddleError);
    expect((error as HeddleError).code, shown()).toMatch(/^(?:INVALID_FILE|UNSUPPORTED|NOT_FOUND)$/u);
  }
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000, shown()).toBeLessThan(limit);
  return works;
}

const rounds = 400;
/** Of each `damage` a tokenizer; the undamaged file must work, and some damage must be noticed. */
function check<T>(name: string, file: T, damage: (file: T, random: () => number) => T, load: (file: T) => Tokenizer) {
  it(`${name} may be damaged anyhow`, () => {
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
const spaceless = (text: string) => text.split(" ");
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
    "of SentencePiece's kind",
    JSON.stringify(sentencePieceJson(["▁", "a", "▁a"], [["▁", "a"]])),
    damagedText,
    fromTexts((tokenizer) => ({ tokenizer })),
  );
  const all = families();
  for (const name of ["bert", "unigram-first", "unigram-t5", "clip", "prefix-bpe", "byte-level-inside"]) {
    // Vocabularies of hundreds of tokens take most of the damage: fewer of them here.
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

describe("tokenizer.model", () => {
  const bytes = new Uint8Array(readFileSync(new URL("../golden/sentencepiece/unigram.model", import.meta.url)));
  check("Unigram", bytes, damagedBytes, (model) => Tokenizer.fromFiles({ model }));

  // Fields as the wire has them: a varint's tag is number * 8, bytes' + 2, a float's + 5.
  const bytesField = (number: number, content: Uint8Array) => {
    const length = content.length < 128 ? [content.length] : [(content.length & 127) | 128, content.length >> 7];
    return Buffer.concat([Buffer.from([number * 8 + 2, ...length]), content]);
  };
  const piece = (text: string, score: number, type: number) => {
    const float = Buffer.alloc(4);
    float.writeFloatLE(score);
    const fields = [bytesField(1, Buffer.from(text)), Buffer.from([0x15]), float, Buffer.from([0x18, type])];
    return bytesField(1, Buffer.concat(fields));
  };
  const pieces = [piece("<unk>", 0, 2), piece("<s>", 0, 3), piece("</s>", 0, 3), piece("<0x41>", 0, 6)];
  for (const [rank, text] of ["▁a", "▁", "a", "b", "ab", "日", "12"].entries()) pieces.push(piece(text, -rank, 1));
  // model_type BPE (field 3), byte_fallback (field 35, a tag of two bytes).
  const trainer = bytesField(2, Buffer.from([0x18, 2, 0x98, 2, 1]));
  const bpe = new Uint8Array(Buffer.concat([...pieces, trainer, bytesField(3, Buffer.from([0x18, 1, 0x20, 0]))]));
  check("BPE", bpe, damagedBytes, (model) => Tokenizer.fromFiles({ model }));
});

describe("older files", () => {
  const ranks = [...Array.from({ length: 256 }, (_, byte) => [byte]), [0x61, 0x62], [0x20, 0x61], [0x61, 0x62, 0x61]]
    .map((bytes, rank) => `${Buffer.from(bytes).toString("base64")} ${rank}\n`)
    .join("");
  const tiktokenOptions = { pattern: "gpt2", specialTokens: { "<s>": 300 } };
  check(
    "tiktoken's ranks",
    ranks,
    damagedText,
    fromTexts((tiktoken) => ({ tiktoken, tiktokenOptions })),
  );
  check("Llama 3's tokenizer.model", Buffer.from(ranks), damagedBytes, (model) => Tokenizer.fromFiles({ model }));

  const vocab = JSON.stringify(byteLevelJson(merges).model.vocab);
  const list = `#version: 0.2\n${merges.map((merge) => merge.join(" ")).join("\n")}\n`;
  check(
    "vocab.json",
    vocab,
    damagedText,
    fromTexts((text) => ({ vocab: text, merges: list })),
  );
  check(
    "merges.txt",
    list,
    damagedText,
    fromTexts((text) => ({ vocab, merges: text })),
  );
  const words = "[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able , it ' s o 12 日 本";
  check(
    "vocab.txt",
    spaceless(words).join("\n"),
    damagedText,
    fromTexts((vocabText) => ({ vocabText })),
  );
});

describe("GGUF", () => {
  // The metadata as JSON, so that damage reaches every value; what then is no JSON says nothing.
  const load = (text: string) => {
    let metadata: unknown;
    try {
      metadata = JSON.parse(text);
    } catch {
      throw new HeddleError("INVALID_FILE", "no JSON");
    }
    if (typeof metadata !== "object" || metadata === null) throw new HeddleError("INVALID_FILE", "no record");
    return Tokenizer.fromGguf(metadata as Record<string, unknown>);
  };
  const llama = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "<0x41>", "▁", "a", "b", "ab", "▁a"],
    "tokenizer.ggml.scores": [0, 0, 0, 0, -1, -2, -3, -4, -5],
    "tokenizer.ggml.token_type": [2, 3, 3, 6, 1, 1, 1, 1, 1],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.add_bos_token": true,
    "tokenizer.chat_template": "{{ messages[0].content }}",
  };
  const gpt2 = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "deepseek-v3",
    "tokenizer.ggml.tokens": [...byteNames, "ab", "aba", "Ġa", "<s>"],
    "tokenizer.ggml.token_type": [...byteNames.map(() => 1), 1, 1, 1, 3],
    "tokenizer.ggml.merges": merges.map((merge) => merge.join(" ")),
  };
  check("with scores", JSON.stringify(llama), damagedText, load);
  check("with merges", JSON.stringify(gpt2), damagedText, load);
});
