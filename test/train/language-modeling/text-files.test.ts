// Pre-training on texts in memory: arrays of rows, and sync or async iterables of texts or rows.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
let tokenizer: Awaited<ReturnType<typeof tinyTokenizer>>;
const before = process.env.TMPDIR;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-text-files-"));
  process.env.TMPDIR = folder;
  tokenizer = await tinyTokenizer();
});
afterAll(async () => {
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
  await rm(folder, { recursive: true, force: true });
});

const rows = sentences.map((text) => ({ text: `${text}\n\n${text}` }));
async function* slowly<T>(items: readonly T[]) {
  for (const item of items) {
    await new Promise((resolve) => setImmediate(resolve));
    yield item;
  }
}
const common = { maxSteps: 3, maxSeqLength: 16, perDeviceTrainBatchSize: 2, dtype: "f32" } as const;
async function losses(data: PretrainOptions["data"], more: Partial<PretrainOptions> = {}) {
  await using model = tinyModel({ tokenizer });
  const found: (number | undefined)[] = [];
  for await (const event of pretrain(model, { ...common, data, ...more }))
    found.push("loss" in event ? event.loss : event.evalLoss);
  return found;
}
const written = async () => (await readdir(folder)).filter((name) => name.startsWith("heddle-texts"));

describe.skipIf(process.platform === "win32")("texts in memory", () => {
  test("give the losses of a file with them, and leave no temp files", async () => {
    const path = join(folder, "rows.jsonl");
    await writeFile(path, rows.map((row) => JSON.stringify(row)).join("\n"));
    const held = { evalData: path };
    const expected = await losses(path, held);
    expect(expected).toHaveLength(4);
    const texts = rows.map(({ text }) => text);
    for (const data of [rows, new Set(texts), slowly(texts), slowly(rows)])
      expect(await losses(data, { evalData: rows })).toEqual(expected);
    const bodies = rows.map(({ text }) => ({ id: 1, body: text }));
    expect(await losses(bodies, { ...held, textField: "body" }).catch(String)).toMatch(/rows\.jsonl:1: .*"body"/);
    expect(await losses(bodies, { textField: "body" })).toEqual(expected.slice(0, 3));
    expect(await written()).toEqual([]);
  });

  test("resume at their position, and are rejected if changed", async () => {
    const outputDir = join(folder, "resumed");
    const expected = await losses(rows);
    const first = await losses(rows, { outputDir, maxSteps: 3, saveSteps: 1 });
    expect(first).toEqual(expected);
    await rm(join(outputDir, "checkpoint-3"), { recursive: true });
    expect(await losses(slowly(rows), { outputDir, resume: true })).toEqual(expected.slice(2));
    await rm(join(outputDir, "checkpoint-3"), { recursive: true });
    await expect(losses(rows.slice(1), { outputDir, resume: true })).rejects.toThrow(
      /^data: the position belongs to other/,
    );
    expect(await written()).toEqual([]);
  });

  test("are rejected with the row of an invalid value; strings in an array count as paths", async () => {
    await expect(losses(slowly(["a", 3] as never))).rejects.toThrow(
      /^data: row 2: expected a text, or an object with the text field "text", got 3/,
    );
    await expect(losses([{ txt: "a" }])).rejects.toThrow(/^data: row 1: expected a text, or .* got/);
    await expect(losses(new Set<string>())).rejects.toThrow(/^data: expected at least one text, got none/);
    await expect(losses(["some text"])).rejects.toThrow(/^data: expected paths of files/);
    expect(() => pretrain(tinyModel({ tokenizer }), { ...common, data: 3 as never })).toThrow(
      /^data: expected a path, an array of paths, .*, or an iterable of texts, got 3/,
    );
    expect(() => pretrain(tinyModel({ tokenizer }), { ...common, data: [{ data: "x", wieght: 1 }] as never })).toThrow(
      /wieght/,
    );
    const stop = new AbortController();
    const endless = (async function* () {
      for (let i = 0; ; i++) {
        if (i === 5) stop.abort();
        yield "text";
      }
    })();
    await expect(losses(endless, { signal: stop.signal })).rejects.toMatchObject({ code: "ABORTED" });
    expect(await written()).toEqual([]);
  });
});
