// Limits that every JSON reader checks before it creates values.
import { isUtf8 } from "node:buffer";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { responseFormatOf } from "../../lib/cli/options/response-format.ts";
import type { HeddleError } from "../../lib/core/errors.ts";
import { readCheckpointState } from "../../lib/formats/checkpoint/checkpoint.ts";
import { malformedUtf8At, parseJson } from "../../lib/io/json.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { readTrainingConfig } from "../../lib/train/options/config-file.ts";
import { eventOf } from "../../lib/train/tracking/event-lines.ts";
import { expectError, safetensors, temporaryFile, temporaryFolder } from "../formats/helpers.ts";
import { modelFolder } from "../formats/model-folder.ts";

const objects = (count: number) => `[${"{},".repeat(count)}{}]`;
const load = async (path: string) => (await LanguageModel.load(path, { threads: 1 })).dispose();

/** A file of a model folder, its reader, and other files to remove so that the reader reads it. */
const files: [name: string, use: (folder: string) => Promise<unknown>, without?: readonly string[]][] = [
  ["config.json", load],
  ["generation_config.json", load],
  ["model_card.json", load],
  ["modules.json", load],
  ["1_Pooling/config.json", load],
  ["2_Dense/config.json", load],
  ["config_sentence_transformers.json", load],
  ["sentence_bert_config.json", load],
  ["model.safetensors.index.json", load, ["model.safetensors"]],
  ["adapter_config.json", load, ["config.json", "model.safetensors"]],
  ["tokenizer.json", Tokenizer.load],
  ["tokenizer_config.json", Tokenizer.load],
  ["special_tokens_map.json", Tokenizer.load],
  ["vocab.json", Tokenizer.load, ["tokenizer.json"]],
  ["added_tokens.json", Tokenizer.load, ["tokenizer.json", "tokenizer_config.json"]],
  ["trainer_state.json", readCheckpointState],
  ["options.json", (folder) => readTrainingConfig(join(folder, "options.json"))],
  ["schema.json", (folder) => responseFormatOf(join(folder, "schema.json"), undefined)],
];

describe("JSON files of a model folder", () => {
  let whole: string;
  beforeAll(async () => {
    whole = await modelFolder(true);
    writeFileSync(join(whole, "merges.txt"), "");
    writeFileSync(join(whole, "vocab.json"), "{}");
  });

  function folderWith(name: string, content: string | Uint8Array, without: readonly string[] = []): string {
    const folder = join(temporaryFolder(), "model");
    cpSync(whole, folder, { recursive: true });
    for (const one of without) rmSync(join(folder, one));
    writeFileSync(join(folder, name), content);
    return folder;
  }

  // expectError limits the processor time to a second.
  test.each(files)("%s with millions of values is rejected within a second, unparsed", async (name, use, without) => {
    const folder = folderWith(name, `{"zz":${objects(4e6)}}`, without);
    const parse = vi.spyOn(JSON, "parse");
    await expectError(
      () => use(folder),
      "INVALID_FILE",
      /expected JSON of at most \d+ values \(keys included\), got more/,
    );
    const longest = Math.max(0, ...parse.mock.calls.map(([text]) => text.length));
    parse.mockRestore();
    expect(longest).toBeLessThan(1e6);
  });

  test.each(files)("%s with invalid UTF-8 is rejected with its position", async (name, use, without) => {
    const bytes = Buffer.from('{"\u00e9":"\ufffd", "a": "#"}');
    const at = bytes.indexOf("#");
    bytes[at] = 0xc3;
    const folder = folderWith(name, bytes, without);
    await expectError(() => use(folder), "INVALID_FILE", `expected UTF-8, got an invalid sequence at byte ${at}`);
  });

  test("vocab.txt, merges.txt and chat_template.jinja with invalid UTF-8 are rejected with its position", async () => {
    const bad = Buffer.from("abc\nd\xff\n", "latin1");
    for (const [name, without] of [
      ["vocab.txt", ["tokenizer.json", "vocab.json"]],
      ["merges.txt", ["tokenizer.json"]],
      ["chat_template.jinja", []],
    ] as const) {
      const folder = folderWith(name, bad, without);
      await expectError(
        () => Tokenizer.load(folder),
        "INVALID_FILE",
        `${name}: expected UTF-8, got an invalid sequence at byte 5`,
      );
    }
  });

  test("a safetensors header with invalid UTF-8 or millions of values is rejected", async () => {
    const header = Buffer.from('{"__metadata__":{"a":"#"}}');
    header[header.indexOf("#")] = 0xff;
    const length = Buffer.alloc(8);
    length.writeUInt32LE(header.length);
    const path = temporaryFile(Buffer.concat([length, header]), "model.safetensors");
    await expectError(() => load(path), "INVALID_FILE", "header: expected JSON: invalid UTF-8 at byte 22");
    const many = temporaryFile(safetensors(`{"a":${objects(4e6)}}`), "model.safetensors");
    await expectError(() => load(many), "INVALID_FILE", /header: expected JSON: more than 2097152 values/);
  });
});

test("a line of a run's log with millions of values is not an event", () => {
  expect(eventOf(`{"step":3,"loss":1.5,"note":${objects(9)}}`)).toMatchObject({ step: 3, loss: 1.5 });
  expect(eventOf(`{"step":3,"loss":1.5,"note":${objects(4e6)}}`)).toBeUndefined();
});

describe("parseJson", () => {
  test("equals JSON.parse, also after a byte order mark", () => {
    fc.assert(
      fc.property(fc.json(), fc.boolean(), (text, marked) => {
        const source = Buffer.from((marked ? "\ufeff" : "") + text);
        const wanted = JSON.parse(source.toString("utf8").replace(/^\ufeff/, ""));
        expect(parseJson(source, "x")).toEqual(wanted);
        expect(parseJson(text, "x")).toEqual(JSON.parse(text));
      }),
    );
  });

  test("counts keys and values exactly, except for empty containers", () => {
    const count = (value: unknown): number => {
      if (typeof value !== "object" || value === null) return 1;
      const inner = Object.values(value);
      return inner.reduce((sum: number, one) => sum + count(one), 1 + (Array.isArray(value) ? 0 : inner.length));
    };
    const limits = (text: string, values: number) => {
      try {
        parseJson(text, "x", { values, depth: 1000 });
        return true;
      } catch (error) {
        expect((error as HeddleError).message).toMatch(/of at most \d+ values/);
        return false;
      }
    };
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        const values = count(value);
        const empty = text.replace(/"(?:[^"\\]|\\.)*"/g, "").match(/\{\}|\[\]/g)?.length ?? 0;
        expect(limits(text, values + empty)).toBe(true);
        if (values > 1) expect(limits(text, values - 1)).toBe(false);
      }),
    );
  });

  test("allows one value per 32 bytes in large files", () => {
    const name = "model.layers.0.mlp.experts.100.down_proj.weight";
    const entries = Array.from({ length: 200_000 }, (_, i) => `"${name}${i}":"model-00001-of-00200.safetensors"`);
    expect(Object.keys(parseJson(`{${entries.join(",")}}`, "x") as object)).toHaveLength(200_000);
    expect(() => parseJson(`[${"0,".repeat(300_000)}0]`, "x")).toThrow("x: expected JSON of at most 262144 values");
  });

  test("recognizes strings and escapes that cross the windows in which a text is checked", () => {
    const escapes = '\\"'.repeat(70_000);
    for (const shift of ["", " ", "  "])
      expect(parseJson(`${shift}["${escapes}[[[,,,"]`, "x", { values: 2, depth: 1 })).toEqual([
        `${'"'.repeat(70_000)}[[[,,,`,
      ]);
    const long = `["${"x".repeat(65_534)}",[[]]]`;
    expect(() => parseJson(long, "x", { depth: 2 })).toThrow("x: expected JSON nested at most 2 deep, got more");
    expect(parseJson(long, "x", { depth: 3 })).toHaveLength(2);
  });

  test("says on one line why a text with line breaks is not JSON", () => {
    const parse = () => parseJson('{"a":fals\n,"b":\u2028}', "x");
    expect(parse).toThrow(/^x: expected JSON: .*\\x0a/u);
    expect(parse).not.toThrow(/[\n\u2028]/u);
  });

  test.each([
    ["syntax", "{"],
    ["nesting", "[[]]"],
    ["the number of values", "[0,0,0]"],
    ["UTF-8", Buffer.of(0x22, 0xff, 0x22)],
  ])("fails with the given error code: %s", (_, source) => {
    const code = "INVALID_ARGUMENT";
    expect(() => parseJson(source, "x", { code, depth: 1, values: 3 })).toThrow(expect.objectContaining({ code }));
  });
});

test("the position of invalid UTF-8 is the end of the longest valid prefix", () => {
  const wanted = (bytes: Buffer) => {
    if (isUtf8(bytes)) return -1;
    let end = bytes.length;
    while (!isUtf8(bytes.subarray(0, end))) end--;
    return end;
  };
  const piece = fc.oneof(fc.string({ unit: "grapheme" }), fc.constant("\ufffd"), fc.constant("x".repeat(65_530)));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), fc.uint8Array({ maxLength: 4 }), piece, (before, bad, after) => {
      const bytes = Buffer.concat([Buffer.from(before.join("")), bad, Buffer.from(after)]);
      expect(malformedUtf8At(bytes)).toBe(wanted(bytes));
    }),
  );
  expect(malformedUtf8At(readFileSync(new URL(import.meta.url)))).toBe(-1);
});
