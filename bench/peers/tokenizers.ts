// Tokenizers from npm, optional: HEDDLE_BENCH_TOKENIZERS names a folder with a node_modules that has some of ai-tokenizer,
// gpt-tokenizer, tiktoken, tiktoken-node, tokenizers (the official library's binding) and kitoken.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

type Ids = ArrayLike<number>;

export interface TokenizerPeer {
  name: string;
  encode(text: string): Ids | Promise<Ids>;
  /** Ids and where they stand. */
  encodeWithOffsets?(text: string): Promise<unknown>;
  encodeBatch?(texts: string[]): unknown;
  decode?(ids: Ids): string;
}

export const vocabularies = ["cl100k", "llama3", "qwen3", "llama2"] as const;
export type Vocabulary = (typeof vocabularies)[number];

const folder = process.env.HEDDLE_BENCH_TOKENIZERS;
const installed = (name: string) => folder !== undefined && existsSync(join(folder, "node_modules", name));
// biome-ignore lint/suspicious/noExplicitAny: packages without types here
type Package = any;
const load = (name: string): Package => createRequire(pathToFileURL(`${folder}/`))(name);

/** The package's peers of a vocabulary. @param file its tokenizer.json */
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
        decode: (ids) => tokenizer.decode(ids),
      };
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

/** What loads a tokenizer.json, by name. */
export function tokenizerLoaders(): { name: string; load(file: string): unknown }[] {
  const loaders: { name: string; load(file: string): unknown }[] = [];
  if (installed("tokenizers")) {
    const { Tokenizer } = load("tokenizers");
    loaders.push({ name: "tokenizers", load: (file) => Tokenizer.fromFile(file) });
  }
  if (installed("kitoken")) {
    const { Kitoken } = load("kitoken/node");
    loaders.push({
      name: "kitoken",
      load: (file) => {
        const made = new Kitoken(readFileSync(file));
        return () => made.free();
      },
    });
  }
  return loaders;
}
