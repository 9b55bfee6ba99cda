// GGUF files in several parts: any part opens the model, and parts that do not belong together are rejected.
import { copyFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../lib/formats/gguf/gguf-write.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { runCli } from "../cli/run.ts";
import { expectError, expectSameBytes, temporaryFolder } from "../formats/helpers.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { partFile, partKeys, splitGguf, tensorsOf } from "./foreign-gguf.ts";

let whole = "";
beforeAll(async () => {
  const folder = join(temporaryFolder(), "model");
  await using model = tinyModel({ tokenizer: await tinyTokenizer() }, {});
  await model.save(folder);
  whole = join(temporaryFolder(), "whole.gguf");
  await convertModel(folder, whole);
});

test("the path of any part, or of their folder, opens the model", async () => {
  const parts = await splitGguf(whole, 3);
  await using wanted = await LanguageModel.load(whole);
  const ids = [...wanted.tokenizer!.encode("The cat saw")];
  const logits = (await wanted.logits(ids))[1]!;
  for (const path of [...parts, dirname(parts[0]!)]) {
    await using model = await LanguageModel.load(path);
    expect(model.config).toEqual(wanted.config);
    expect([...model.tokenizer!.encode("The cat saw")]).toEqual(ids);
    expect((await model.logits(ids))[1]).toEqual(logits);
  }
});

test("info and convert accept parts, and convert writes one file", async () => {
  const [, second] = await splitGguf(whole, 3);
  const { stdout } = await runCli(["info", "--model", second!, "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({ format: "gguf", tokenizer: true });
  const file = join(temporaryFolder(), "joined.gguf");
  await convertModel(second!, file);
  const { metadata, file: opened } = await openGguf(file);
  opened.close();
  expect([...metadata.values.keys()].filter((key) => key.startsWith("split."))).toEqual([]);
  const tensors = await tensorsOf(file);
  expect(tensors.length).toBe((await tensorsOf(whole)).length);
  for (const tensor of await tensorsOf(whole))
    expectSameBytes(
      tensors.find(({ name }) => name === tensor.name)!.bytes as Uint8Array,
      tensor.bytes as Uint8Array,
      tensor.name,
    );
});

/** Rewrites a part with other keys or other tensors. */
async function rewritten(path: string, keys: [string, GgufValue][], tensors?: TensorData[]): Promise<void> {
  const kept = tensors ?? (await tensorsOf(path));
  const { file, metadata } = await openGguf(path);
  file.close();
  await writeGguf(path, { metadata: new Map([...metadata.values, ...keys]), tensors: kept });
}
const u16 = (value: number): GgufValue => ({ type: "u16", value });

describe("opening a GGUF file in parts", () => {
  test.each<[string, (parts: string[]) => unknown, "INVALID_FILE" | "NOT_FOUND", RegExp]>([
    [
      "a missing part",
      ([, , last]) => rmSync(last!),
      "NOT_FOUND",
      /one of 3 parts: expected model-00003-of-00003.gguf in the same folder/,
    ],
    [
      "a part with the number of another",
      ([, second, last]) => copyFileSync(second!, last!),
      "INVALID_FILE",
      /00003-of-00003.gguf: expected part 3 of 3, got part 2 of 3$/,
    ],
    [
      "parts that disagree on their count",
      ([, second]) => rewritten(second!, [["split.count", u16(4)]]),
      "INVALID_FILE",
      /expected part 2 of 3, got part 2 of 4$/,
    ],
    [
      "a whole file instead of a part",
      ([, second]) => copyFileSync(whole, second!),
      "INVALID_FILE",
      /expected part 2 of 3, got part 1 of 1$/,
    ],
    [
      "a wrong number of tensors",
      ([, second]) => rewritten(second!, partKeys(1, 3, 999)),
      "INVALID_FILE",
      /split.tensors.count: expected the [0-9]+ tensors of all 3 parts, got 999$/,
    ],
    [
      "a missing tensor",
      async ([, second]) => rewritten(second!, [], (await tensorsOf(second!)).slice(1)),
      "INVALID_FILE",
      /split.tensors.count: expected the [0-9]+ tensors/,
    ],
    [
      "a tensor in two parts",
      async ([first, second]) => {
        const tensors = [...(await tensorsOf(second!)).slice(1), (await tensorsOf(first!))[0]!];
        return rewritten(second!, [], tensors);
      },
      "INVALID_FILE",
      /tensor "token_embd.weight": expected in one of 3 parts, found it twice$/,
    ],
    [
      "a part that is not a GGUF file",
      ([, second]) => writeFileSync(second!, "text"),
      "INVALID_FILE",
      /00002-of-00003.gguf: not a GGUF file/,
    ],
    [
      "too many parts",
      ([first]) => rewritten(first!, [["split.count", u16(5000)]]),
      "INVALID_FILE",
      /at most 4096 parts, got 5000$/,
    ],
    [
      "a part number out of range",
      ([first]) => rewritten(first!, [["split.no", u16(3)]]),
      "INVALID_FILE",
      /split.no: expected 0 to 2, got 3$/,
    ],
    [
      "a count that is not a number",
      ([first]) => rewritten(first!, [["split.count", { type: "string", value: "3" }]]),
      "INVALID_FILE",
      /split.count: expected a number, got string$/,
    ],
  ])("rejects %s", async (_name, spoil, code, message) => {
    const parts = await splitGguf(whole, 3);
    await spoil(parts);
    await expectError(() => openWeights(parts[0]!), code, message);
  });

  test("rejects a part whose name does not give the names of the other parts", async () => {
    const [first] = await splitGguf(whole, 2);
    for (const name of ["model.gguf", partFile(2, 3), "model-00001-of-00009.gguf"]) {
      const renamed = join(temporaryFolder(), name);
      copyFileSync(first!, renamed);
      await expectError(
        () => openWeights(renamed),
        "INVALID_FILE",
        /part 1 of 2: expected the name …-00001-of-00002.gguf, because the other parts' names follow from it, got model/,
      );
    }
  });

  test("rejects a folder with the parts of two models", async () => {
    const [first] = await splitGguf(whole, 2);
    renameSync(first!, join(dirname(first!), "other-00001-of-00002.gguf"));
    await expectError(() => openWeights(dirname(first!)), "NOT_FOUND", /or one GGUF model, got model-00002/);
  });
});
