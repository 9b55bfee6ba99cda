import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { documentsOf, perplexity } from "../../lib/eval/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { fixtures } from "../helpers/fixtures.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let model: LanguageModel;
let folder: string;
beforeAll(async () => {
  model = tinyModel({ tokenizer: await tinyTokenizer() }, { maxPositionEmbeddings: 32 });
  folder = await mkdtemp(join(tmpdir(), "heddle-eval-"));
});
afterAll(async () => {
  await model.dispose();
  await rm(folder, { recursive: true, force: true });
});

/** Returns the negative log-likelihood in nats of token i after the tokens from `start` on, computed from logits. */
async function nats(ids: number[], start: number, i: number): Promise<number> {
  const [row] = await model.logits(ids.slice(start, i), { last: true });
  const largest = Math.max(...row!);
  return largest + Math.log(row!.reduce((n, v) => n + Math.exp(v - largest), 0)) - row![ids[i]!]!;
}

describe("perplexity", () => {
  test("counts every token after the first once, with overlapping windows", async () => {
    const text = sentences.slice(0, 8).join(" ");
    const ids = Array.from(model.tokenizer!.encode(text));
    expect(ids.length).toBeGreaterThan(64);
    const stride = 12;
    let sum = 0;
    for (let i = 1; i < ids.length; i++) {
      // The first window that reaches token i scores it.
      const window = Math.max(0, Math.ceil((i + 1 - 32) / stride));
      sum += await nats(ids, window * stride, i);
    }
    const result = await perplexity(model, text, { stride });
    expect(result.tokens).toBe(ids.length - 1);
    expect(result.nll).toBeCloseTo(sum / (ids.length - 1), 4);
    expect(result.perplexity).toBeCloseTo(Math.exp(result.nll), 6);
    const bytes = Buffer.byteLength(text) - model.tokenizer!.tokenBytes(ids[0]!).length;
    expect(result.bitsPerByte).toBeCloseTo(sum / Math.LN2 / bytes, 4);
  });

  test("scores documents separately and pools them by token", async () => {
    const [a, b] = [await perplexity(model, "The cat saw"), await perplexity(model, "the sea and ran home")];
    const both = await perplexity(model, ["The cat saw", "the sea and ran home"]);
    expect(both.tokens).toBe(a.tokens + b.tokens);
    expect(both.nll).toBeCloseTo((a.nll * a.tokens + b.nll * b.tokens) / both.tokens, 6);
  });

  test("a model with equal logits has the vocabulary's size as perplexity", async () => {
    await using flat = tinyModel({ tokenizer: await tinyTokenizer() });
    const head = flat.model.weight("lm_head.weight");
    await head.write(new Float32Array(head.elements));
    expect((await perplexity(flat, "The cat saw the sea")).perplexity).toBeCloseTo(320, 3);
  });

  test("rejects invalid texts, options and models", async () => {
    expect((await failureOf(() => perplexity(model, ""))).code).toBe("INVALID_ARGUMENT");
    const path = fileURLToPath(import.meta.url);
    expect((await failureOf(() => perplexity(model, path))).message).toMatch(
      /^documents: expected a text, or an iterable of texts, got the path of a file, /,
    );
    expect((await perplexity(model, [path])).tokens).toBeGreaterThan(0);
    expect((await failureOf(() => perplexity(model, "The cat", { stride: 32 }))).message).toContain("stride");
    expect((await failureOf(() => perplexity(model, "The cat", { strid: 3 } as never))).message).toContain(
      "nearest: stride",
    );
    await using bare = tinyModel();
    expect((await failureOf(() => perplexity(bare, "x"))).message).toContain("tokenizer");
    await using broken = tinyModel({ tokenizer: await tinyTokenizer() });
    await broken.model.weight("model.norm.weight").write(new Float32Array(4).fill(Number.NaN));
    expect((await failureOf(() => perplexity(broken, "The cat saw"))).code).toBe("NUMERICAL");
    const signal = AbortSignal.abort();
    expect((await failureOf(() => perplexity(model, "The cat", { signal }))).code).toBe("ABORTED");
  });

  test.skipIf(!fixtures)("agrees with the reference sequences of stories260K", async () => {
    await using stories = await LanguageModel.load(join(fixtures!, "stories260K"));
    const { readFileSync } = await import("node:fs");
    const reference = JSON.parse(readFileSync(join(fixtures!, "stories260K/reference_logits.json"), "utf8"));
    let compared = 0;
    for (const { text, ids, mean_nll } of reference.sequences) {
      if (
        typeof text !== "string" ||
        JSON.stringify(Array.from(stories.tokenizer!.encode(text))) !== JSON.stringify(ids)
      )
        continue;
      const result = await perplexity(stories, text);
      expect(result.tokens).toBe(ids.length - 1);
      expect(result.nll).toBeCloseTo(mean_nll, 4);
      compared++;
    }
    expect(compared).toBeGreaterThan(0);
  });
});

describe("documentsOf", () => {
  const all = async (documents: AsyncIterable<string>) => {
    const out: string[] = [];
    for await (const text of documents) out.push(text);
    return out;
  };
  const collect = async (name: string, content: string | Uint8Array) => {
    const path = join(folder, name);
    await writeFile(path, content);
    return all(documentsOf(path));
  };

  test("yields a text file as one document, and a .jsonl file as one per row", async () => {
    expect(await collect("a.txt", "one\n\ntwo\n")).toEqual(["one\n\ntwo\n"]);
    expect(await collect("a.jsonl", '{"text":"one"}\n\n"two"\n')).toEqual(["one", "two"]);
  });

  test("yields a .parquet file as one document per row", async () => {
    const columnData = [{ name: "text", data: ["one", "two"], type: "STRING" as const }];
    const path = join(folder, "a.parquet");
    await writeFile(path, Buffer.from(parquetWriteBuffer({ columnData })));
    expect(await all(documentsOf(path))).toEqual(["one", "two"]);
  });

  test("drops the byte-order mark, as pre-training does", async () => {
    expect(await collect("mark.txt", "\ufeffone\n")).toEqual(["one\n"]);
    expect(await collect("mark.jsonl", '\ufeff{"text":"one"}\n"two"\n')).toEqual(["one", "two"]);
  });

  test("rejects a compressed file, and rows that are not UTF-8", async () => {
    for (const name of ["a.txt.gz", "a.jsonl"]) {
      const { code, message } = await failureOf(() => collect(name, gzipSync("one")));
      expect(code).toBe("INVALID_FILE");
      expect(message).toContain(`${name}: expected a text in UTF-8, got a gzip file`);
    }
    const lines = () => all(documentsOf(join(folder, "a.txt.gz"), { documentSeparator: "line" }));
    expect((await failureOf(lines)).message).toContain("a.txt.gz: expected a text in UTF-8, got a gzip file");
    const rows = Buffer.from('"one"\n"caf\xe9"\n', "latin1");
    expect((await failureOf(() => collect("latin.jsonl", rows))).message).toContain(
      "latin.jsonl:2: expected UTF-8, got invalid bytes",
    );
  });

  test("rejects a folder and a device as text to split", async () => {
    const failed = (path: string) => failureOf(() => all(documentsOf(path, { documentSeparator: "line" })));
    expect((await failed(folder)).message).toBe(`${folder}: expected a regular file to split, got a folder`);
    if (process.platform !== "win32")
      expect((await failed("/dev/null")).message).toBe("/dev/null: expected a regular file to split, got a device");
  });

  test("rejects a file without text, and the error names it", async () => {
    for (const name of ["empty.txt", "empty.jsonl"]) {
      const error = await failureOf(() => collect(name, ""));
      expect(error).toMatchObject({ code: "INVALID_FILE" });
      expect(error.message).toContain(`${name}: expected`);
    }
  });

  test("rejects an invalid row and names its file and line, and rejects a missing file", async () => {
    for (const [content, line] of [
      ['{"text":1}\n', 1],
      ['"x"\n{\n', 2],
    ] as const) {
      const error = await failureOf(() => collect("bad.jsonl", content));
      expect(error).toMatchObject({ code: "INVALID_FILE" });
      expect(error.message).toContain(`bad.jsonl:${line}: expected`);
    }
    expect((await failureOf(() => all(documentsOf(join(folder, "none"))))).code).toBe("NOT_FOUND");
  });
});
