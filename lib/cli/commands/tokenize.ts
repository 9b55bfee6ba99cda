import { formatCount } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import { separatorRule } from "../../data/corpus.ts";
import type { SeparatorRule } from "../../data/documents/shards.ts";
import { TextDocuments } from "../../data/documents/text-documents.ts";
import { jsonLinesOf } from "../../data/json-lines.ts";
import { linesOf } from "../../data/lines.ts";
import {
  type TokenShard,
  type TokenShardProgress,
  type WriteTokenShardsOptions,
  writeDocuments,
  writeTokenShards,
} from "../../data/token-shards/write-token-shards.ts";
import { loadTokenizerOf } from "../../language-model/index.ts";
import { defineCommand } from "../command.ts";
import { givenText } from "../options/prompt.ts";
import { Spool } from "../options/spool.ts";
import { interruptible } from "../terminal/interrupt.ts";
import type { Output } from "../terminal/output.ts";
import { WorkProgress } from "../terminal/work-progress.ts";

export const command = defineCommand({
  about: "Converts text to token ids.",
  positionals: { usage: "TEXT (- reads stdin)", least: 0, most: 1 },
  options: {
    file: {
      kind: "string",
      value: "F",
      about: "tokenize each line of a file, and print a JSON object for each; with --to-shards, - is standard input",
    },
    jsonl: {
      kind: "flag",
      about: "with --file: each line is a JSON string (with --file - and --to-shards: a JSON object)",
    },
    "no-special-tokens": { kind: "flag", about: "do not add BOS or EOS (not with --to-shards)" },
    "allow-special": {
      kind: "flag",
      about: "parse special tokens in the text, as Hugging Face tokenizers do (not with --to-shards)",
    },
    "to-shards": {
      kind: "string",
      value: "DIR",
      about: "with --file: write its documents (text, .jsonl, .parquet) as memory-mapped token files for pre-training",
      named: "outputDir",
    },
    "shard-tokens": {
      kind: "integer",
      value: "N",
      about: "with --to-shards: approximate number of tokens per file (default: 134217728)",
    },
    "text-field": {
      kind: "string",
      value: "NAME",
      about: "with --to-shards: text field of .jsonl rows, or text column of .parquet files",
    },
    "document-separator": {
      kind: "string",
      value: "file|blank-line|line|TEXT",
      about: "with --to-shards: separator of documents in a text file",
    },
    shuffle: { kind: "integer", value: "SEED", about: "with --to-shards: shuffle the documents with this seed" },
    resume: { kind: "flag", about: "with --to-shards: continue after the shards that the same command has finished" },
  },
  without: { device: "no device", threads: "no threads", profile: "no profile" },
  async run({ options, positionals, out }) {
    const [text] = positionals;
    if ((text === undefined) === (options.file === undefined))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `tokenize: expected TEXT or --file, got ${text === undefined ? "neither" : "both"}`,
      );
    if (options.jsonl && options.file === undefined)
      throw new HeddleError("INVALID_ARGUMENT", "--jsonl: requires --file");
    const outputDir = options["to-shards"];
    for (const name of ["shard-tokens", "text-field", "document-separator", "shuffle", "resume"] as const)
      if (options[name] !== undefined && outputDir === undefined)
        throw new HeddleError("INVALID_ARGUMENT", `--${name}: requires --to-shards`);
    if (outputDir !== undefined) {
      const { file } = options;
      if (file === undefined) throw new HeddleError("INVALID_ARGUMENT", "--to-shards: requires --file");
      needShardOptions(file, options);
      const tokenizer = await loadTokenizerOf(options.model ?? "default");
      const work = async (signal: AbortSignal) => {
        const shards = await writeShards(file, outputDir, tokenizer, options, out, signal);
        if (shards.length === 0)
          throw new HeddleError("INVALID_FILE", `${file}: expected a document with text, got none`);
      };
      return interruptible("tokenize", work, () =>
        file === "-"
          ? `finished shards are in ${outputDir}`
          : `finished shards are in ${outputDir}; use --resume to continue`,
      );
    }
    const tokenizer = await loadTokenizerOf(options.model ?? "default");
    const addSpecialTokens = !options["no-special-tokens"];
    const encoded = (line: string) => {
      const ids = Array.from(
        tokenizer.encode(line, { addSpecialTokens, allowSpecial: options["allow-special"] === true }),
      );
      return { ids, tokens: ids.map((id) => tokenizer.idToToken(id) ?? ""), count: ids.length };
    };
    if (options.file !== undefined) {
      const lines = options.jsonl ? jsonStrings(options.file) : linesOf(options.file, { keepMark: true });
      for await (const line of lines) out.object(encoded(line));
      return;
    }
    const result = encoded(await givenText(text!));
    if (out.json) out.object(result);
    else {
      for (const [i, id] of result.ids.entries())
        out.line(`${String(id).padStart(8)}  ${JSON.stringify(result.tokens[i])}`);
      out.line(`${result.count} tokens`);
    }
  },
});

interface ShardOptions {
  "shard-tokens"?: number;
  "text-field"?: string;
  "document-separator"?: string;
  shuffle?: number;
  resume?: boolean;
  jsonl?: boolean;
  "no-special-tokens"?: boolean;
  "allow-special"?: boolean;
}

/** Yields the JSON strings of a file with one per line. @throws INVALID_FILE `file:line: …` */
async function* jsonStrings(path: string): AsyncGenerator<string, void, undefined> {
  const expected = "a JSON string";
  for await (const { value, where } of jsonLinesOf(path, { expected, blanks: true })) {
    if (typeof value !== "string")
      throw new HeddleError(
        "INVALID_FILE",
        `${where}: expected ${expected}, got ${value === undefined ? "a blank line" : "another value"}`,
      );
    yield value;
  }
}

/** Rejects options that have no effect on shards of this file. @throws HeddleError INVALID_ARGUMENT */
function needShardOptions(file: string, options: ShardOptions): void {
  const refuse = (name: keyof ShardOptions, why: string) => {
    if (options[name] !== undefined) throw new HeddleError("INVALID_ARGUMENT", `--${name}: ${why}`);
  };
  for (const name of ["no-special-tokens", "allow-special"] as const)
    refuse(name, "cannot be combined with --to-shards, which always separates documents and reads no special tokens");
  if (file !== "-") {
    if (!/\.(jsonl|ndjson)$/i.test(file))
      refuse("jsonl", `expected --file - or a .jsonl file with --to-shards, got ${file}`);
  } else if (options.jsonl) refuse("document-separator", "cannot be combined with --jsonl, whose rows are documents");
  else refuse("text-field", "requires --jsonl with --file -, because text has no fields");
  if (file === "-") refuse("resume", "expected a file, got standard input, which cannot be read again");
}

async function writeShards(
  file: string,
  outputDir: string,
  tokenizer: Awaited<ReturnType<typeof loadTokenizerOf>>,
  options: ShardOptions,
  out: Output,
  signal: AbortSignal,
): Promise<TokenShard[]> {
  const bar = new WorkProgress();
  const reported = new Set<string>();
  const tell = (shard: TokenShard) => {
    if (out.json) out.object(shard);
    else out.line(`${shard.path}: ${shard.tokens} tokens, ${shard.documents} documents`);
  };
  let spool: Spool | undefined;
  try {
    const { "shard-tokens": shardTokens, "text-field": textField, "document-separator": documentSeparator } = options;
    const work = {
      files: file,
      tokenizer,
      outputDir,
      signal,
      ...(shardTokens !== undefined && { shardTokens }),
      ...(textField !== undefined && { textField }),
      ...(documentSeparator !== undefined && { documentSeparator }),
      ...(options.resume && { resume: true }),
      ...(options.shuffle !== undefined && { shuffle: true, seed: options.shuffle }),
      onProgress: ({ tokens, bytes, totalBytes }: TokenShardProgress) =>
        bar.update(`${formatCount(tokens)} tokens`, bytes, totalBytes),
      onShard: (shard: TokenShard) => {
        bar.end();
        reported.add(shard.path);
        tell(shard);
      },
    } satisfies WriteTokenShardsOptions;
    if (file !== "-") {
      const shards = await writeTokenShards(work);
      bar.end();
      for (const shard of shards) if (!reported.has(shard.path)) tell(shard); // shards that an earlier run finished
      return shards;
    }
    spool = await Spool.standardInput(outputDir, signal);
    const format = options.jsonl ? "jsonl" : "text";
    const rule: SeparatorRule = options.jsonl ? { kind: "lines" } : separatorRule(documentSeparator);
    const documents = new TextDocuments({ path: spool.path, size: spool.bytes, format, rule }, textField);
    return await writeDocuments([documents], work);
  } catch (error) {
    throw spool?.renamed(error) ?? error;
  } finally {
    bar.end();
    await spool?.close();
  }
}
