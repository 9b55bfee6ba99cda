// Tokenizers from npm, optional: HEDDLE_BENCH_TOKENIZERS names a folder with a node_modules that has some of ai-tokenizer,
// gpt-tokenizer, tiktoken, tiktoken-node, tokenizers (the official library's binding) and kitoken.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { tiktokenParts } from "./tokenizers-llama.ts";

type Ids = ArrayLike<number>;

export interface TokenizerPeer {
  name: string;
  encode(text: string): Ids | Promise<Ids>;
  /** Returns ids with their offsets in the text. */
  encodeWithOffsets?(text: string): Promise<unknown>;
  encodeBatch?(texts: string[]): unknown;
  decode?(ids: Ids): string;
}

export const vocabularies = ["cl100k", "llama3", "qwen3", "llama2"] as const;
export type Vocabulary = (typeof vocabularies)[number];

const folder = process.env.HEDDLE_BENCH_TOKENIZERS;
const installed = (name: string) => folder !== undefined && existsSync(join(folder, "node_modules", name));
// biome-ignore lint/suspicious/noExplicitAny: these packages may not be installed, so their types are unknown
type Package = any;
const load = (name: string): Package => createRequire(pathToFileURL(`${folder}/`))(name);

/** Returns the installed packages' tokenizers for a vocabulary. @param file the vocabulary's tokenizer.json */
export function tokenizerPeers(vocabulary: Vocabulary, file: string): TokenizerPeer[] {
  const peers: TokenizerPeer[] = [];
  const add = (name: string, make: () => Omit<TokenizerPeer, "name">) => {
    if (!installed(name)) return;
    const { version } = JSON.parse(readFileSync(join(folder!, "node_modules", name, "package.json"), "utf8"));
    peers.push({ name: `${name} ${version}`, ...make() });
  };
  if (vocabulary === "cl100k") {
    add("ai-tokenizer", () => {
      const { Tokenizer } = load("ai-tokenizer");
      const tokenizer = new Tokenizer(load("ai-tokenizer/encoding").cl100k_base);
      return { encode: (text) => tokenizer.encode(text), decode: (ids) => tokenizer.decode(ids) };
    });
    add("gpt-tokenizer", () => {
      const { encode, decode } = load("gpt-tokenizer/encoding/cl100k_base");
      return { encode: (text) => encode(text), decode: (ids) => decode(ids) };
    });
    add("tiktoken", () => {
      const tokenizer = load("tiktoken").get_encoding("cl100k_base");
      const utf8 = new TextDecoder();
      return {
        encode: (text) => tokenizer.encode_ordinary(text),
        decode: (ids) => utf8.decode(tokenizer.decode(ids)),
      };
    });
    add("tiktoken-node", () => {
      const tokenizer = load("tiktoken-node").getEncoding("cl100k_base");
      return {
        encode: (text) => tokenizer.encode(text),
        encodeBatch: (texts) => tokenizer.encodeBatch(texts),
      };
    });
  }
  if (vocabulary === "llama3" || vocabulary === "qwen3") {
    add("tiktoken", () => {
      const { Tiktoken } = load("tiktoken");
      const tokenizer = new Tiktoken(...tiktokenParts(file, vocabulary === "llama3" ? "llama3" : "qwen2"));
      return { encode: (text) => tokenizer.encode_ordinary(text) };
    });
  }
  add("tokenizers", () => {
    const tokenizer = load("tokenizers").Tokenizer.fromFile(file);
    return {
      encode: async (text) => (await tokenizer.encode(text)).getIds(),
      encodeWithOffsets: async (text) => {
        const encoding = await tokenizer.encode(text);
        return [encoding.getIds(), encoding.getOffsets()];
      },
      encodeBatch: async (texts) => (await tokenizer.encodeBatch(texts)).map((e: { getIds(): number[] }) => e.getIds()),
    };
  });
  add("kitoken", () => {
    const { Kitoken } = load("kitoken/node");
    const tokenizer = new Kitoken(readFileSync(file));
    const utf8 = new TextDecoder();
    return {
      encode: (text) => tokenizer.encode(text, false),
      decode: (ids) => utf8.decode(tokenizer.decode(Uint32Array.from(ids), true)),
    };
  });
  return peers;
}

/** Installed packages that can load a tokenizer.json, for load_tokenizer.mjs. */
export const tokenizerLoaders = ["tokenizers", "kitoken"].filter(installed);

/** Returns the milliseconds of one import and of one load, in a separate process. */
export function loadOnce(what: string, file: string): { importing: number; loading: number } {
  const script = fileURLToPath(new URL("load_tokenizer.mjs", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, what, file, folder ?? "."], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`load_tokenizer.mjs ${what}: ${stderr}`);
  return JSON.parse(stdout);
}
