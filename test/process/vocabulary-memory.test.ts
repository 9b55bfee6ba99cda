// Vocabularies of two million tokens take memory that is bounded by the size of their file.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { array, gguf, key } from "../formats/gguf/gguf-bytes.ts";
import { temporaryFolder, text } from "../formats/helpers.ts";
import { entry, node } from "./helpers.ts";

const SCALAR = { string: 8, f32: 6, i32: 5 };
const COUNT = 2_000_000;

/**
 * Returns `first` and then texts from an alphabet of 38 letters, the shortest first. Each longer text is a merge of its prefix and its last
 * letter.
 */
function dense(first: readonly string[]): string[] {
  const letters = [..."abcdefghijklmnopqrstuvwxyz0123456789-_"];
  const all = [...first];
  for (let level = [""]; all.length < COUNT; ) {
    level = level.flatMap((start) => letters.map((letter) => start + letter));
    for (const token of level) if (all.length < COUNT) all.push(token);
  }
  return all;
}

function strings(list: readonly string[]): Buffer {
  const block = Buffer.alloc(list.reduce((sum, one) => sum + 8 + one.length, 0));
  let at = 0;
  for (const one of list) {
    block.writeUInt32LE(one.length, at);
    at += 8 + block.write(one, at + 8, "latin1");
  }
  return block;
}

const floats = Buffer.from(Float32Array.from({ length: COUNT }, (_, i) => -i).buffer);
const types = Buffer.from(Int32Array.from({ length: COUNT }, (_, i) => (i === 0 ? 2 : 1)).buffer);
const vocabulary = (model: string, tokens: readonly string[]) => [
  key("tokenizer.ggml.model", SCALAR.string, text(model)),
  key("tokenizer.ggml.tokens", 9, array(SCALAR.string, COUNT, strings(tokens))),
];
const scored = (model: string) =>
  gguf({
    keys: [
      ...vocabulary(model, dense(["<unk>"])),
      key("tokenizer.ggml.scores", 9, array(SCALAR.f32, COUNT, floats)),
      key("tokenizer.ggml.token_type", 9, array(SCALAR.i32, COUNT, types)),
    ],
  });

/** Returns a tokenizer.json of byte-level BPE. */
function json(): Buffer {
  const tokens = dense([]);
  const merges = tokens.filter(({ length }) => length > 1).map((token) => `${token.slice(0, -1)} ${token.slice(-1)}`);
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const level = { type: "ByteLevel", add_prefix_space: false };
  return Buffer.from(JSON.stringify({ pre_tokenizer: level, decoder: level, model: { type: "BPE", vocab, merges } }));
}

/** Returns a tokenizer.json of Unigram. */
const pieces = () =>
  Buffer.from(
    JSON.stringify({ model: { type: "Unigram", unk_id: 0, vocab: dense(["<unk>"]).map((token, id) => [token, -id]) } }),
  );

/** Returns a process's peak memory while it loads a tokenizer, minus its memory before, in bytes. */
async function peak(path: string): Promise<number> {
  const { code, stdout, stderr } = await node([
    "--input-type=module",
    "-e",
    `import { readFileSync } from "node:fs";
     import { Tokenizer } from ${JSON.stringify(entry)};
     const kilobytes = (name) => Number(new RegExp(name + ":\\\\s*(\\\\d+)").exec(readFileSync("/proc/self/status", "utf8"))[1]);
     Tokenizer.fromFiles({ tokenizer: '{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}' }).encode("a");
     const before = kilobytes("VmRSS");
     const tokenizer = await Tokenizer.load(${JSON.stringify(path)});
     tokenizer.encode("some text");
     console.log((kilobytes("VmHWM") - before) * 1024);`,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return Number(stdout);
}

const cases: [string, string, () => Buffer][] = [
  ["BPE by scores in GGUF", "llama.gguf", () => scored("llama")],
  ["Unigram in GGUF", "t5.gguf", () => scored("t5")],
  ["BPE in tokenizer.json", "bpe/tokenizer.json", json],
  ["Unigram in tokenizer.json", "unigram/tokenizer.json", pieces],
];

test.runIf(existsSync("/proc/self/status")).each(cases)(
  "loading two million tokens takes at most three times the size of their file: %s",
  { timeout: 300_000 },
  async (_, name, make) => {
    const folder = temporaryFolder();
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    const bytes = make();
    writeFileSync(path, bytes);
    const used = await peak(path.endsWith("json") ? dirname(path) : path);
    expect(used / bytes.length).toBeLessThan(3);
  },
);
