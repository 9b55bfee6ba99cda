// Peers for the vocabularies of Llama 3 and Qwen 3 that cannot read tokenizer.json. node-llama-cpp (HEDDLE_BENCH_LLAMA names a folder with
// it in node_modules) gets a GGUF file with only the vocabulary. tiktoken gets the ranks.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { GgufValue } from "../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../lib/formats/gguf/gguf-write.ts";
import { characterOfByte } from "../../lib/tokenizer/byte-alphabet.ts";
import { tokenizerToGguf } from "../../lib/tokenizer/files/gguf-write.ts";
import { namedPatterns } from "../../lib/tokenizer/pipeline/patterns.ts";
import type { TokenizerPeer } from "./tokenizers.ts";

const byteOf = new Map(Array.from({ length: 256 }, (_, byte) => [characterOfByte(byte), byte]));

/** Returns the bytes of a token in GPT-2's alphabet, or undefined if one of its characters is not in the alphabet. */
function namedBytes(name: string): Buffer | undefined {
  const bytes = Array.from(name, (character) => byteOf.get(character));
  return bytes.every((byte) => byte !== undefined) ? Buffer.from(bytes) : undefined;
}

interface TokenizerJson {
  model: { type: string; vocab: Record<string, number> };
  added_tokens: { id: number; content: string }[];
}

/** Opens a vocabulary in node-llama-cpp. Returns undefined if it is not installed. @param file the vocabulary's tokenizer.json */
export async function llamaCppPeer(file: string): Promise<TokenizerPeer | undefined> {
  const root = process.env.HEDDLE_BENCH_LLAMA;
  if (root === undefined || !existsSync(join(root, "node_modules/node-llama-cpp"))) return undefined;
  const tokenizer = JSON.parse(readFileSync(file, "utf8")) as TokenizerJson;
  const ids = [...Object.values(tokenizer.model.vocab), ...tokenizer.added_tokens.map(({ id }) => id)];
  const vocabSize = ids.reduce((most, id) => Math.max(most, id + 1), 0);
  const sizes = { block_count: 1, context_length: 512, embedding_length: 64, feed_forward_length: 64 };
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "llama" }],
    ...Object.entries({ ...sizes, "attention.head_count": 1 }).map(([key, value]): [string, GgufValue] => [
      `llama.${key}`,
      { type: "u32", value },
    ]),
    ["llama.attention.layer_norm_rms_epsilon", { type: "f32", value: 1e-5 }],
    ...tokenizerToGguf({ tokenizer, path: file }, { vocabSize, bosTokenId: null, eosTokenIds: [], padTokenId: null }),
  ]);
  const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
  try {
    const modelPath = join(folder, "vocabulary.gguf");
    await writeGguf(modelPath, { metadata, tensors: [] });
    const require = createRequire(join(root, "package.json"));
    const entry = require.resolve("node-llama-cpp");
    const { getLlama } = await import(pathToFileURL(entry).href);
    const { version } = JSON.parse(readFileSync(join(root, "node_modules/node-llama-cpp/package.json"), "utf8"));
    const llama = await getLlama({ gpu: false, build: "never", logLevel: "disabled" }); // it would log the missing weights
    const model = await llama.loadModel({ modelPath, vocabOnly: true });
    return {
      name: `node-llama-cpp ${version}`,
      encode: (text) => model.tokenize(text),
      decode: (tokens) => model.detokenize(tokens),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Returns the inputs of tiktoken: `base64 rank` lines, special tokens, the pattern. @param file a tokenizer.json of byte-level tokens by
 * rank
 */
export function tiktokenParts(file: string, pattern: "llama3" | "qwen2"): [string, Record<string, number>, string] {
  const { model, added_tokens } = JSON.parse(readFileSync(file, "utf8")) as TokenizerJson;
  const special = Object.fromEntries(added_tokens.map(({ content, id }) => [content, id]));
  const lines = Object.entries(model.vocab).flatMap(([name, rank]) => {
    const bytes = Object.hasOwn(special, name) ? undefined : namedBytes(name);
    return bytes ? [`${bytes.toString("base64")} ${rank}`] : [];
  });
  return [lines.join("\n"), special, namedPatterns[pattern]];
}
