import { HeddleError } from "../errors.ts";
import { Tokenizer } from "../tokenizer/index.ts";
import { defineCommand } from "./command.ts";
import { readLines } from "./lines.ts";

/** Characters of a text that goes to the trainer at once. */
const PART = 1 << 20;

export const command = defineCommand({
  about: "Trains a byte-level BPE tokenizer on text files (.jsonl: the field `text` of each row).",
  positionals: { usage: "FILES", least: 1, most: 10_000 },
  options: {
    "vocab-size": { kind: "integer", value: "N", about: "tokens in all, special ones and 256 bytes included" },
    out: { kind: "string", value: "DIR", about: "folder for tokenizer.json" },
    pattern: { kind: "string", value: "P", about: "how text is split first: gpt2 (default), llama3, qwen2" },
    "special-token": { kind: "string", value: "T", about: "a special token; may be repeated", repeated: true },
    "min-frequency": { kind: "integer", value: "N", about: "pairs that occur less often are not merged" },
  },
  async run({ options, positionals, out }) {
    const vocabSize = options["vocab-size"];
    if (vocabSize === undefined) throw new HeddleError("INVALID_ARGUMENT", "--vocab-size: expected a number, got none");
    if (options.out === undefined) throw new HeddleError("INVALID_ARGUMENT", "--out: expected a folder, got none");
    const started = performance.now();
    const tokenizer = await Tokenizer.train(textsOf(positionals), {
      vocabSize,
      ...(options.pattern !== undefined && { pattern: options.pattern }),
      ...(options["special-token"] && { specialTokens: options["special-token"] }),
      ...(options["min-frequency"] !== undefined && { minFrequency: options["min-frequency"] }),
    });
    await tokenizer.save(options.out);
    const seconds = (performance.now() - started) / 1000;
    if (out.json) out.object({ vocabSize: tokenizer.vocabSize, out: options.out, seconds });
    else out.line(`${options.out}: ${tokenizer.vocabSize} tokens, ${seconds.toFixed(1)} s`);
  },
});

async function* textsOf(files: readonly string[]): AsyncGenerator<string, void, undefined> {
  for (const file of files) {
    if (/\.(jsonl|ndjson)$/i.test(file)) yield* rowTexts(file);
    else {
      let part = "";
      for await (const line of readLines(file)) {
        part += `${line}\n`;
        if (part.length < PART) continue;
        yield part;
        part = "";
      }
      if (part !== "") yield part;
    }
  }
}

async function* rowTexts(file: string): AsyncGenerator<string, void, undefined> {
  let number = 0;
  for await (const line of readLines(file)) {
    number++;
    if (line.trim() === "") continue;
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch {
      throw new HeddleError("INVALID_FILE", `${file}:${number}: expected JSON, got text that is not JSON`);
    }
    const text = typeof row === "string" ? row : (row as { text?: unknown } | null)?.text;
    if (typeof text !== "string")
      throw new HeddleError(
        "INVALID_FILE",
        `${file}:${number}: expected a string or an object with a text, got neither`,
      );
    yield text;
  }
}
