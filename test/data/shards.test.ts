import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { documentCount, documentEnds, documentText } from "../../lib/data/documents/documents.ts";
import { type CorpusFile, planShards, readShard, type SeparatorRule } from "../../lib/data/documents/shards.ts";
import { temporaryFolder } from "./helpers.ts";

const { write } = temporaryFolder();

/** The documents of a text, or their parts, in the order of its shards. */
async function split(
  content: string | Buffer,
  rule: SeparatorRule,
  shardBytes: number,
  format: CorpusFile["format"] = "text",
) {
  const path = write("text.txt", content);
  const files: CorpusFile[] = [{ path, size: Buffer.byteLength(content), format, rule }];
  const texts: { text: string; opens: boolean; closes: boolean }[] = [];
  for (const shard of planShards(files, shardBytes)) {
    const documents = await readShard(files, shard);
    for (let i = 0; i < documentCount(documents); i++) {
      texts.push({ text: await documentText(documents, i, "text"), ...documentEnds(documents, i) });
    }
  }
  return texts;
}

/** Reference: runs of lines that are not separators. */
function splitPlainly(text: string, isSeparator: (line: string) => boolean): string[] {
  const documents: string[][] = [[]];
  for (const line of text.split("\n")) {
    const clean = line.replace(/\r$/, "");
    if (isSeparator(clean)) documents.push([]);
    else documents.at(-1)!.push(clean);
  }
  return documents.filter((lines) => lines.length > 0).map((lines) => lines.join("\n"));
}

const line = fc.constantFrom("", "", " ", "a", "bc", "déf", "日本", "---", "long line of words", "\t");
const text = fc.oneof(
  fc.array(fc.tuple(line, fc.constantFrom("\n", "\n", "\r\n")), { maxLength: 40 }),
  fc.array(
    fc.tuple(
      line.map((one) => one.trim()),
      fc.constant("\n"),
    ),
    { maxLength: 40 },
  ),
);
const asText = (lines: [string, string][]) => lines.map((pair) => pair.join("")).join("");

describe("readShard", () => {
  it("finds documents between blank lines for any shard size", async () => {
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 1, max: 40 }), async (lines, shardBytes) => {
        const content = asText(lines);
        const found = await split(content, { kind: "blank" }, shardBytes);
        const whole = splitPlainly(content, (one) => /^[ \t\r]*$/.test(one));
        // Small shards split long documents; joined parts equal the document.
        const joined: string[] = [];
        for (const { text: part, opens } of found) {
          if (opens) joined.push(part);
          else joined.push(`${joined.pop() ?? ""}${part}`);
        }
        const bare = (texts: string[]) => texts.map((one) => one.replace(/\s/g, ""));
        // A cut within a blank line turns the line into text, which joins the documents around it. An empty line cannot be cut.
        const canBeCut = /^[ \t\r]+$/m.test(content);
        if (canBeCut) expect(bare(joined).join("")).toBe(bare(whole).join(""));
        else expect(bare(joined)).toEqual(bare(whole));
        if (shardBytes >= 4 * Buffer.byteLength(content)) expect(found.map((one) => one.text)).toEqual(whole);
      }),
      { numRuns: 300 },
    );
  });

  it("finds every document whole if shards are longer than documents", async () => {
    const documents = Array.from({ length: 200 }, (_, i) => `document ${i}\n${"word ".repeat(i % 7)}end`);
    const gaps = Array.from({ length: 200 }, (_, i) => ["\n\n", "\r\n\r\n", "\n \t\n\n", "\n\n\n\n\n"][i % 4]!);
    const content = `\n\n${documents.map((document, i) => document + gaps[i]).join("")}`;
    for (let shardBytes = 400; shardBytes < 480; shardBytes++) {
      const found = await split(content, { kind: "blank" }, shardBytes);
      expect(found).toEqual(documents.map((one) => ({ text: one, opens: true, closes: true })));
    }
  });

  it("separates only at lines equal to the marker", async () => {
    const content = "one\n<|end|>\ntwo <|end|> still\n\n<|end|>x\n<|end|>\r\nthree";
    const found = await split(content, { kind: "marker", bytes: Buffer.from("<|end|>") }, 2 ** 20);
    expect(found.map((one) => one.text)).toEqual(["one", "two <|end|> still\n\n<|end|>x", "three"]);
  });

  it("treats each line as a document", async () => {
    const content = "one\r\n\n  \ntwo\nthrée";
    for (const shardBytes of [1, 2, 3, 7, 100]) {
      const found = await split(content, { kind: "lines" }, shardBytes);
      expect(found.map((one) => one.text)).toEqual(["one", "two", "thrée"]);
    }
  });

  it("splits a file without separators into parts that join to the file, and cuts only between characters", async () => {
    const oneLine = "日本語のテキスト".repeat(20000);
    const manyLines = "a line of words, ünicode\n".repeat(30000);
    for (const content of [oneLine, manyLines]) {
      const parts = await split(content, { kind: "none" }, 2 ** 17);
      expect(parts.length).toBeGreaterThan(4);
      expect(parts.map((part) => part.text).join("")).toBe(content.replace(/\n$/, ""));
      expect(parts.map((part) => part.opens)).toEqual(parts.map((_, i) => i === 0));
      expect(parts.map((part) => part.closes)).toEqual(parts.map((_, i) => i === parts.length - 1));
    }
  });

  it("drops a byte order mark and reads invalid bytes as U+FFFD", async () => {
    const content = Buffer.concat([Buffer.from("\ufeffone\n\ntw"), Buffer.from([0xff]), Buffer.from("o")]);
    const found = await split(content, { kind: "blank" }, 2 ** 20);
    expect(found.map((one) => one.text)).toEqual(["one", "tw\ufffdo"]);
  });

  it("rejects a JSONL row with invalid UTF-8 and names its line, but accepts a literal replacement character", async () => {
    const row = (text: string | Buffer) =>
      Buffer.concat([Buffer.from('{"text":"'), Buffer.from(text), Buffer.from('"}\n')]);
    const rows = [row("one"), row("\ufffd"), row(Buffer.from([0x74, 0xff])), row("four")];
    await expect(split(Buffer.concat(rows), { kind: "lines" }, 2 ** 20, "jsonl")).rejects.toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringMatching(/:3: expected UTF-8, got invalid bytes$/),
    });
    const good = await split(Buffer.concat(rows.slice(0, 2)), { kind: "lines" }, 2 ** 20, "jsonl");
    expect(good.map(({ text }) => text)).toEqual(["one", "\ufffd"]);
  });

  it("rejects a JSONL line of more than 16 MiB", async () => {
    const path = write(
      "long.jsonl",
      Buffer.concat([Buffer.from("{}\n"), Buffer.alloc(17 * 2 ** 20, 0x20), Buffer.from("x")]),
    );
    const files: CorpusFile[] = [{ path, size: 17 * 2 ** 20 + 4, format: "jsonl", rule: { kind: "lines" } }];
    await expect(readShard(files, planShards(files, 2 ** 22)[0]!)).rejects.toMatchObject({
      code: "INVALID_FILE",
      message: `${path}:2: line is too long, expected at most 16777216 bytes`,
    });
  });

  it("reports a file that has become shorter", async () => {
    const path = write("short.txt", "abc");
    const files: CorpusFile[] = [{ path, size: 10, format: "text", rule: { kind: "blank" } }];
    await expect(readShard(files, planShards(files, 100)[0]!)).rejects.toMatchObject({ code: "IO" });
  });
});
