// Row files: formats and invalid UTF-8.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { linesOf } from "../../lib/data/lines.ts";
import { readRows } from "../../lib/data/rows.ts";

const folder = await mkdtemp(join(tmpdir(), "heddle-rows-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

async function rowsOf(source: string): Promise<[unknown, string][]> {
  const rows: [unknown, string][] = [];
  for await (const { value, where } of readRows(source)) rows.push([value, where.replace(folder, "")]);
  return rows;
}

test("a .json file holds an array of rows or one row per line", async () => {
  const rows = [{ text: "a" }, { text: "b" }];
  const found = [
    [rows[0], "/array.json: row 1"],
    [rows[1], "/array.json: row 2"],
  ];
  expect(await rowsOf(await file("array.json", `\n ${JSON.stringify(rows, null, 2)}`))).toEqual(found);
  const lines = rows.map((row) => JSON.stringify(row)).join("\n");
  expect((await rowsOf(await file("lines.json", lines))).map(([row]) => row)).toEqual(rows);
  await expect(rowsOf(await file("texts.json", '[{"text": "a"}, "b"]'))).rejects.toMatchObject({
    code: "INVALID_FILE",
    message: expect.stringMatching(/texts\.json: row 2: expected an object, got "b"$/),
  });
  await expect(rowsOf(await file("open.json", '[{"text": "a"}'))).rejects.toThrow(/open\.json: expected JSON/);
});

test("a row with invalid UTF-8 is rejected with its line, and one with a literal replacement character is accepted", async () => {
  const row = (text: string) => JSON.stringify({ text });
  const bad = Buffer.concat([Buffer.from(`${row("a")}\n{"text": "b`), Buffer.from([0xff]), Buffer.from('"}\n')]);
  await expect(rowsOf(await file("bad.jsonl", bad))).rejects.toMatchObject({
    code: "INVALID_FILE",
    message: expect.stringMatching(/bad\.jsonl:2: expected UTF-8, got invalid bytes$/),
  });
  const array = Buffer.concat([
    Buffer.from("[\n"),
    Buffer.from('{"text": "b'),
    Buffer.from([0xff]),
    Buffer.from('"}]'),
  ]);
  await expect(rowsOf(await file("bad.json", array))).rejects.toThrow(/bad\.json:2: expected UTF-8, got invalid bytes/);
  expect((await rowsOf(await file("good.jsonl", `${row("\ufffd")}\n${row("é")}`))).map(([value]) => value)).toEqual([
    { text: "\ufffd" },
    { text: "é" },
  ]);
  // Lines that span several chunks. The last file ends within a character.
  const long = "\ufffd".repeat(400_000);
  const both = await rowsOf(await file("long.jsonl", `${row(long)}\n${row(long)}`));
  expect(both.map(([value]) => (value as { text: string }).text === long)).toEqual([true, true]);
  const cut = Buffer.from(row(long));
  await expect(rowsOf(await file("cut.jsonl", cut.subarray(0, cut.length - 4)))).rejects.toThrow(
    /cut\.jsonl:1: expected UTF-8/,
  );
  // Raw text is not validated.
  const lines: string[] = [];
  for await (const line of linesOf(join(folder, "bad.jsonl"))) lines.push(line);
  expect(lines[1]).toBe('{"text": "b\ufffd"}');
});

test("a file of literal replacement characters is read in linear time", async () => {
  const count = 20_000;
  const path = await file("replaced.jsonl", `${JSON.stringify({ text: "\ufffd" })}\n`.repeat(count));
  const searches = vi.spyOn(Buffer.prototype, "indexOf");
  try {
    let read = 0;
    for await (const _ of readRows(path)) read++;
    expect(read).toBe(count);
    expect(searches.mock.calls.length).toBeLessThanOrEqual(2 * count);
  } finally {
    searches.mockRestore();
  }
});
