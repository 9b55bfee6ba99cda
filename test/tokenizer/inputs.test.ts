// Truncation and padding match stored values of the official library (scripts/golden/tokenizer_inputs.mjs).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  HeddleError,
  type InputText,
  type ModelInput,
  type Padding,
  Tokenizer,
  type Truncation,
} from "../../lib/tokenizer/index.ts";
import { families } from "./generated.ts";
import { byteLevelJson, fromJson } from "./samples.ts";

interface Row {
  truncation: object | null;
  padding: object | null;
  texts: InputText[];
  inputs: Plain[];
}
interface Plain {
  ids: number[];
  typeIds: number[];
  attentionMask: number[];
  specialTokensMask: number[];
}

const rows = JSON.parse(readFileSync(new URL("../golden/tokenizer-inputs.json", import.meta.url), "utf8")) as Row[];
const load = (changes: object = {}) =>
  Tokenizer.fromFiles({ tokenizer: JSON.stringify({ ...families().bert, ...changes }) });
const plain = (input: ModelInput): Plain => ({
  ids: [...input.ids],
  typeIds: [...input.typeIds],
  attentionMask: [...input.attentionMask],
  specialTokensMask: [...input.specialTokensMask],
});

describe("encodeInputs", () => {
  it.each(rows.map((row, index) => ({ ...row, index })))("matches the official library in row $index", async (row) => {
    const { truncation, padding, texts, inputs } = row;
    const tokenizer = load({ truncation, padding });
    // The library's batches take single texts only, so only BatchLongest rows were encoded as batches, and all others text by text.
    for (const [i, text] of texts.entries()) {
      const alone = (padding as { strategy?: unknown } | null)?.strategy === "BatchLongest" ? texts : [text];
      const got = (await tokenizer.encodeInputs(alone))[alone.indexOf(text)]!;
      expect(plain(got), JSON.stringify(text)).toEqual(inputs[i]);
    }
    expect(texts.length).toBeGreaterThan(2);
  });

  it("returns overflowing tokens in windows that overlap by the stride", async () => {
    const tokenizer = fromJson(byteLevelJson([]));
    const windows = async (text: InputText, truncation: Truncation) => {
      const [input] = await tokenizer.encodeInputs([text], { truncation });
      return [input!, ...input!.overflowing].map(({ ids }) => tokenizer.decode(ids));
    };
    const text = "0123456789";
    expect(await windows(text, { maxLength: 4 })).toEqual(["0123", "4567", "89"]);
    expect(await windows(text, { maxLength: 4, stride: 2 })).toEqual(["0123", "2345", "4567", "6789"]);
    expect(await windows(text, { maxLength: 4, stride: 1, side: "left" })).toEqual(["6789", "3456", "0123"]);
    expect(await windows(text, { maxLength: 4, stride: 2, side: "left" })).toEqual(["6789", "4567", "2345", "0123"]);
    expect(await windows(text, { maxLength: 10, stride: 3 })).toEqual([text]);
    expect(await windows(text, { maxLength: 0 })).toEqual(["", text]);
    // Every window contains all of the text that is not truncated.
    const pair: InputText = ["ab", text];
    expect(await windows(pair, { maxLength: 6, strategy: "onlySecond" })).toEqual(["ab0123", "ab4567", "ab89"]);
    expect(await windows([text, "ab"], { maxLength: 6 })).toEqual(["0123ab", "4567ab", "89ab"]);
  });

  it("combines the windows of two truncated texts as the official library does", async () => {
    const tokenizer = fromJson(byteLevelJson([]));
    const inputs = async (truncation: Truncation, padding: Padding | false = false) => {
      const [input] = await tokenizer.encodeInputs([["abcdef", "012345"]], { truncation, padding });
      return [input!, ...input!.overflowing];
    };
    const texts = async (truncation: Truncation) =>
      (await inputs(truncation)).map(({ ids }) => tokenizer.decode(ids)).join(" ");
    // Values of the official library, without the overflowing windows that it nests in each window.
    const right = "ab01 cd01 cd23 cd45 ef01 ef23 ef45 ab23 ab45";
    expect(await texts({ maxLength: 4 })).toBe(right);
    expect(await texts({ maxLength: 6, stride: 1 })).toBe("abc012 cde012 cde234 cde45 ef012 ef234 ef45 abc234 abc45");
    expect(await texts({ maxLength: 4, side: "left" })).toBe("ef45 cd45 cd23 cd01 ab45 ab23 ab01 ef23 ef01");
    expect(await texts({ maxLength: 6, stride: 1, side: "left" })).toBe(
      "def345 bcd345 bcd123 bcd01 ab345 ab123 ab01 def123 def01",
    );
    const padded = await inputs({ maxLength: 6, stride: 1 }, { to: 8, id: 32 });
    expect(padded.map(({ ids }) => tokenizer.decode(ids).trimEnd()).join(" ")).toBe(
      "abc012 cde012 cde234 cde45 ef012 ef234 ef45 abc234 abc45",
    );
    expect(padded.map(({ typeIds, attentionMask }) => [typeIds.length, attentionMask.length])).toEqual(
      padded.map(() => [8, 8]),
    );
    expect(padded.every(({ overflowing }, i) => i === 0 || overflowing.length === 0)).toBe(true);
  });

  it("computes overflowing windows lazily, since long pairs have millions", async () => {
    const tokenizer = fromJson(byteLevelJson([]));
    const long = "a".repeat(20_000);
    const [input] = await tokenizer.encodeInputs([[long, long]], { truncation: { maxLength: 4 } });
    expect(input!.ids).toHaveLength(4);
    const property = Object.getOwnPropertyDescriptor(input, "overflowing");
    expect(property).toMatchObject({ get: expect.any(Function), enumerable: true });
  });

  it("applies the tokenizer's truncation and padding, which calls can override and files keep", async () => {
    const tokenizer = load();
    expect([tokenizer.truncation, tokenizer.padding]).toEqual([undefined, undefined]);
    const lengths = async (options?: object) =>
      (await tokenizer.encodeInputs(["the", "the un able café"], options)).map(({ ids }) => ids.length);
    const whole = await lengths();
    expect(whole[1]! - whole[0]!).toBeGreaterThan(1);
    tokenizer.truncation = { maxLength: 4 };
    tokenizer.padding = { multipleOf: 8, id: 0 };
    expect(await lengths()).toEqual([8, 8]);
    expect(await lengths({ truncation: false, padding: false })).toEqual(whole);
    expect(await lengths({ truncation: { maxLength: 3 }, padding: { to: 5, id: 0 } })).toEqual([5, 5]);
    const again = Tokenizer.fromFiles({ tokenizer: tokenizer.files()["tokenizer.json"] });
    expect(again.truncation).toMatchObject({ maxLength: 4, side: "right", strategy: "longestFirst", stride: 0 });
    expect(again.padding).toMatchObject({ to: "longest", multipleOf: 8, id: 0 });
    tokenizer.truncation = undefined;
    tokenizer.padding = undefined;
    expect(await lengths()).toEqual(whole);
    expect(JSON.parse(tokenizer.files()["tokenizer.json"])).toMatchObject({ truncation: null, padding: null });
  });

  it("truncates to model_max_length and pads with the pad token if the options are `true`", async () => {
    const json = byteLevelJson([], { added_tokens: [{ id: 256, content: "<pad>", special: true }] });
    const tokenizer = fromJson(json, { model_max_length: 6, pad_token: "<pad>" });
    const inputs = await tokenizer.encodeInputs(["abcdefgh", "ab"], { truncation: true, padding: true });
    expect(inputs.map(({ ids }) => [...ids])).toEqual([
      [97, 98, 99, 100, 101, 102].map((code) => code),
      [97, 98, 256, 256, 256, 256],
    ]);
    expect([...inputs[1]!.attentionMask]).toEqual([1, 1, 0, 0, 0, 0]);
    const bare = fromJson(byteLevelJson([]));
    await expect(bare.encodeInputs(["a"], { truncation: true })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(bare.encodeInputs(["a"], { padding: true })).rejects.toThrow("padding.id");
  });

  it("rejects invalid truncation and padding options, and the error names them", async () => {
    const tokenizer = load();
    const cases: [object, string][] = [
      [{ truncation: { maxLength: -1 } }, "truncation.maxLength"],
      [{ truncation: { maxLength: 1 } }, "truncation.maxLength"], // [CLS] and [SEP] alone are two
      [{ truncation: { maxLength: 4, side: "up" } }, "truncation.side"],
      [{ truncation: { maxLength: 4, strategy: "longest" } }, "truncation.strategy"],
      [{ truncation: { maxLength: 4, stride: 2 } }, "truncation.stride"],
      [{ truncation: { maxLength: 4, strategy: "onlySecond" } }, "truncation.strategy"],
      [{ padding: { to: "max" } }, "padding.to"],
      [{ padding: { multipleOf: 0 } }, "padding.multipleOf"],
      [{ padding: { id: -1 } }, "padding.id"],
      [{ padding: { side: "both" } }, "padding.side"],
    ];
    for (const [options, name] of cases) {
      const error = await tokenizer.encodeInputs(["the un believable café"], options).catch((e: unknown) => e);
      expect(error, name).toBeInstanceOf(HeddleError);
      expect((error as HeddleError).message).toContain(name);
    }
    for (const bad of ["text", [1], [["a"]], [["a", "b", "c"]]]) {
      await expect(tokenizer.encodeInputs(bad as never)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    const broken = [
      { truncation: { max_length: "9" } },
      { truncation: { max_length: 9, direction: "Up" } },
      { padding: { strategy: { Fixed: 1e12 } } },
      { padding: { strategy: "Longest" } },
      { padding: { pad_id: -1 } },
    ];
    for (const json of broken) expect(() => load(json)).toThrow(expect.objectContaining({ code: "INVALID_FILE" }));
  });
});
