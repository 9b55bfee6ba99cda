// Pipes and devices are rejected immediately wherever a file is expected. Opening a pipe without a writer would block, and reading a device
// might never end.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { linesOf } from "../../lib/data/lines.ts";
import { ParquetTable } from "../../lib/data/parquet/parquet.ts";
import { documentsOf, multipleChoice } from "../../lib/eval/index.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { readJson } from "../../lib/io/atomic-files.ts";
import { readWhole } from "../../lib/io/open-file.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { openRanking } from "../../lib/rank/index.ts";
import { VoteFile } from "../../lib/rank/vote-file.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { expectError, temporaryFile, temporaryFolder } from "../formats/helpers.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const folder = temporaryFolder();
const drain = async (source: AsyncIterable<unknown>) => {
  for await (const _ of source);
};
const withoutPipes = process.platform === "win32";

function pipe(path: string): string {
  execFileSync("mkfifo", [path]);
  return path;
}

describe.skipIf(withoutPipes)("a pipe or a device instead of a file", () => {
  const readers: [string, (path: string) => unknown][] = [
    ["data.json", (path) => readJson(path)],
    ["model.gguf", (path) => LanguageModel.load(path)],
    ["model.safetensors", (path) => openWeights(path)],
    ["to-convert.gguf", (path) => convertModel(path, join(folder, "converted.gguf"))],
    ["tokenizer.json", (path) => Tokenizer.load(path)],
    ["spiece.model", (path) => Tokenizer.load(path)],
    ["cl100k_base.tiktoken", (path) => Tokenizer.load(path)],
    ["vocab.txt", (path) => Tokenizer.load(path)],
    ["lines.txt", (path) => drain(linesOf(path))],
    ["table.parquet", (path) => ParquetTable.open(path)],
    ["documents.txt", (path) => drain(documentsOf(path))],
    ["documents.jsonl", (path) => drain(documentsOf(path))],
    ["prompts.txt", (path) => openRanking(undefined, { prompts: path, out: join(folder, "out.jsonl") })],
    ["prompts.jsonl", (path) => openRanking(undefined, { prompts: path, out: join(folder, "out.jsonl") })],
    ["votes.jsonl", (path) => VoteFile.open(path)],
  ];
  test.each(readers)(
    "is rejected instead of %s",
    async (name, read) => {
      const path = pipe(join(folder, name));
      await expectError(() => read(path), "INVALID_FILE", `${name}: expected a regular file, got a`);
      await expectError(() => read("/dev/zero"), "INVALID_FILE", "/dev/zero: expected a regular file, got a device");
    },
    10_000,
  );

  test.each([
    "config.json",
    "generation_config.json",
    "model_card.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
  ])(
    "is rejected instead of %s of a model's folder",
    async (name) => {
      const path = join(folder, `${name}-of-a-model`);
      await using model = tinyModel({ tokenizer: await tinyTokenizer() });
      await model.save(path);
      execFileSync("rm", ["-f", join(path, name)]);
      pipe(join(path, name));
      await expectError(() => LanguageModel.load(path), "INVALID_FILE", `${name}: expected a regular file, got a`);
    },
    20_000,
  );

  test("is rejected instead of the rows of an evaluation", async () => {
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    const path = pipe(join(folder, "questions.jsonl"));
    await expectError(() => multipleChoice(model, path), "INVALID_FILE", /questions\.jsonl: expected a regular file/);
  }, 20_000);
});

describe.skipIf(withoutPipes)("an inherited file descriptor", () => {
  test("can be read as a data file, even if it is a pipe", () => {
    const script = join(folder, "lines.mts");
    const lines = new URL("../../lib/data/lines.ts", import.meta.url).href;
    const documents = new URL("../../lib/eval/documents.ts", import.meta.url).href;
    writeFileSync(
      script,
      `const { linesOf } = await import(${JSON.stringify(lines)});
       const { documentsOf } = await import(${JSON.stringify(documents)});
       const of = process.argv[2] === "lines" ? linesOf : documentsOf;
       for await (const text of of("/dev/stdin")) console.log(JSON.stringify(text));`,
    );
    const jiti = new URL("../../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url).pathname;
    const said = (kind: string) =>
      execFileSync("sh", ["-c", `printf 'a\\nb' | "$0" "$1" "$2" ${kind}`, process.execPath, jiti, script], {
        encoding: "utf8",
      });
    expect(said("lines")).toBe('"a"\n"b"\n');
    expect(said("documents")).toBe('"a\\nb"\n');
  }, 60_000);
});

describe("a folder instead of a file", () => {
  const inner = join(folder, "inner");
  mkdirSync(inner);
  test("is rejected by every reader", async () => {
    await expectError(() => readJson(inner), "INVALID_FILE", /inner: expected a file, got a folder/);
    await expectError(() => drain(linesOf(inner)), "INVALID_FILE", /inner: expected a file, got a folder/);
    await expectError(() => drain(documentsOf(inner)), "IO", /inner: cannot be read: EISDIR/);
    await expectError(() => VoteFile.open(inner), "IO", /inner: cannot be opened: EISDIR/);
    await expectError(() => ParquetTable.open(inner), "IO", /inner: cannot be read/);
    const prompts = { prompts: inner, out: join(folder, "out.jsonl") };
    await expectError(() => openRanking(undefined, prompts), "IO", /inner: cannot be read: EISDIR/);
    const broken = join(folder, "broken");
    cpSync(inner, join(broken, "tokenizer.json"), { recursive: true });
    await expectError(() => Tokenizer.load(broken), "IO", /tokenizer\.json: EISDIR/);
  });
});

describe("reading a whole file", () => {
  test("returns all bytes up to a limit", async () => {
    const bytes = Buffer.alloc(200_000, "abc");
    const path = temporaryFile(bytes);
    expect(await readWhole(path, 200_000)).toEqual(bytes);
    expect(await readWhole(temporaryFile(""), 10)).toEqual(Buffer.alloc(0));
    await expectError(() => readWhole(path, 199_999), "INVALID_FILE", /expected at most 199999 bytes, got 200000/);
  });

  test.skipIf(process.platform !== "linux")("works if the reported size is 0, as it is in /proc", async () => {
    expect((await readWhole("/proc/self/status", 1 << 20)).toString()).toMatch(/^Name:/);
    await expectError(() => readWhole("/proc/self/status", 10), "INVALID_FILE", /at most 10 bytes, got more/);
  });
});
