import { join } from "node:path";
import { formatCount } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import { textRowsOf } from "../../data/json-lines.ts";
import { linesOf } from "../../data/lines.ts";
import { VOCABULARY_FILES } from "../../formats/tokenizer-files.ts";
import { exists } from "../../io/atomic-files.ts";
import {
  type Compression,
  compressionReport,
  Tokenizer,
  type TrainAlgorithm,
  type TrainOptions,
} from "../../tokenizer/index.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";
import { WorkProgress } from "../terminal/work-progress.ts";

/** Minimum number of characters of a text file that are passed to the trainer at once, except for the last part. */
const PART = 1 << 20;

export const command = defineCommand({
  about: "Trains a tokenizer on text files of any size (.jsonl: on the `text` field of each row).",
  positionals: { usage: "FILES", least: 1, most: 10_000 },
  options: {
    "vocab-size": {
      kind: "integer",
      value: "N",
      about: "vocabulary size, including special tokens and bytes (required)",
    },
    out: { kind: "string", value: "DIR", about: "output folder for tokenizer.json (required)" },
    "overwrite-output-dir": { kind: "flag", about: "replace an existing tokenizer in the folder" },
    algorithm: {
      kind: "string",
      value: "byteLevelBpe|sentencePieceBpe|unigram|wordPiece",
      about: "kind of tokenizer (default: byteLevelBpe)",
    },
    pattern: {
      kind: "string",
      value: "gpt2|llama3|qwen2",
      about: "byteLevelBpe: pre-tokenization pattern (default: gpt2)",
    },
    "special-token": {
      kind: "string",
      value: "T",
      about: "special token to add; may be repeated",
      repeated: true,
      named: "specialTokens",
    },
    "bos-token": {
      kind: "string",
      value: "T",
      about:
        "special token at the start of every text (default: none; byteLevelBpe's first special token only separates documents)",
    },
    "eos-token": { kind: "string", value: "T", about: "special token at the end of a text" },
    "unk-token": { kind: "string", value: "T", about: "special token for unknown input" },
    "min-frequency": { kind: "integer", value: "N", about: "minimum number of occurrences for a pair to be merged" },
    "character-coverage": {
      kind: "number",
      value: "X",
      about: "fraction of characters that get their own tokens (default: 0.9995; wordPiece: 1)",
    },
    "no-byte-fallback": { kind: "flag", about: "sentencePieceBpe, unigram: disable byte fallback" },
    normalization: {
      kind: "string",
      value: "none|nfkc",
      about: "sentencePieceBpe, unigram: normalization (default: none)",
    },
    cased: { kind: "flag", about: "wordPiece: keep case and accents" },
    "max-piece-length": {
      kind: "integer",
      value: "N",
      about: "unigram: maximum piece length in characters (default: 16)",
    },
    report: {
      kind: "string",
      value: "NAME=FILE",
      about: "print bytes per token of a file after training, for example per language; may be repeated",
      repeated: true,
    },
  },
  without: { model: "no model (a tokenizer is trained from scratch)", device: "no device", profile: "no profile" },
  async run({ options, positionals, out }) {
    const vocabSize = options["vocab-size"];
    if (vocabSize === undefined) throw new HeddleError("INVALID_ARGUMENT", "--vocab-size: expected a number, got none");
    if (options.out === undefined) throw new HeddleError("INVALID_ARGUMENT", "--out: expected a folder, got none");
    if (!options["overwrite-output-dir"]) await needNoTokenizer(options.out);
    const corpora = reportFiles(options.report ?? []);
    const started = performance.now();
    const bar = new WorkProgress();
    const given = <T>(name: string, value: T | undefined) => value !== undefined && { [name]: value };
    const training = {
      vocabSize,
      ...given("algorithm", options.algorithm as TrainAlgorithm),
      ...given("pattern", options.pattern),
      ...given("specialTokens", options["special-token"]),
      ...given("bosToken", options["bos-token"]),
      ...given("eosToken", options["eos-token"]),
      ...given("unkToken", options["unk-token"]),
      ...given("minFrequency", options["min-frequency"]),
      ...given("characterCoverage", options["character-coverage"]),
      ...given("normalization", options.normalization as "nfkc"),
      ...given("maxPieceLength", options["max-piece-length"]),
      ...given("threads", options.threads),
      ...(options["no-byte-fallback"] && { byteFallback: false }),
      ...(options.cased && { lowercase: false }),
      onProgress: ({ phase, done, total }) => {
        if (phase === "read") bar.update(`${formatCount(done)} characters read`);
        else bar.update("trained", done, total);
      },
    } satisfies TrainOptions;
    const { out: folder } = options;
    let isSaved = false;
    const work = async (signal: AbortSignal) => {
      const tokenizer = await Tokenizer.train(textsOf(positionals), { ...training, signal }).finally(() => bar.end());
      await tokenizer.save(folder);
      isSaved = true;
      const seconds = (performance.now() - started) / 1000;
      const texts = Object.fromEntries(corpora.map(([name, file]) => [name, textsOf([file])]));
      const report = await compressionReport(tokenizer, texts, { signal });
      const { vocabSize } = tokenizer;
      if (out.json) out.object({ vocabSize, out: folder, seconds, ...(report.length > 0 && { report }) });
      else {
        out.line(`${folder}: ${vocabSize} tokens, ${seconds.toFixed(1)} s`);
        for (const part of report) out.line(describePart(part));
      }
    };
    await interruptible("tokenizer train", work, () =>
      isSaved ? `the tokenizer is in ${folder}` : "nothing was written; run the command again to start over",
    );
  },
});

/** Refuses a folder that contains a tokenizer, because a model may depend on it. */
async function needNoTokenizer(folder: string): Promise<void> {
  for (const name of VOCABULARY_FILES)
    if (await exists(join(folder, name)))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `--out: expected a folder without a tokenizer, got ${folder} with ${name}; choose another folder, or use --overwrite-output-dir`,
      );
}

function describePart({ name, bytesPerToken, charactersPerToken, unknown }: Compression): string {
  const lost = unknown > 0 ? `, ${(100 * unknown).toFixed(2)} % unknown` : "";
  return `${name}: ${bytesPerToken.toFixed(3)} bytes per token, ${charactersPerToken.toFixed(3)} characters${lost}`;
}

function reportFiles(values: readonly string[]): [name: string, file: string][] {
  return values.map((value) => {
    const at = value.indexOf("=");
    if (at < 1) throw new HeddleError("INVALID_ARGUMENT", `--report: expected NAME=FILE, got ${JSON.stringify(value)}`);
    return [value.slice(0, at), value.slice(at + 1)];
  });
}

async function* textsOf(files: readonly string[]): AsyncGenerator<string, void, undefined> {
  for (const file of files) {
    if (/\.(jsonl|ndjson)$/i.test(file)) yield* textRowsOf(file);
    else {
      let part = "";
      for await (const line of linesOf(file)) {
        part += `${line}\n`;
        if (part.length < PART) continue;
        yield part;
        part = "";
      }
      if (part !== "") yield part;
    }
  }
}
