// Damaged files of encoders load or give a HeddleError.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeddleError } from "../../../lib/core/errors.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../../lib/formats/gguf/gguf-write.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { temporaryFile, temporaryFolder } from "../../formats/helpers.ts";
import { f32, flag, tensorsOf, text, u32, withoutHeddleKeys } from "../foreign-gguf.ts";
import { asLlamaCppWrites, encoderFile } from "./encoder-files.ts";

describe.each(["bert", "modernbert", "nomic_bert"])("damaged files of %s", (modelType) => {
  const sizes = { hiddenSize: 32, intermediateSize: 32, numHiddenLayers: 2, numAttentionHeads: 4 };
  let made: Promise<string> | undefined;
  const small = () => {
    made ??= encoderFile({ ...sizes, modelType, maxPositionEmbeddings: 8 }).then((path) => asLlamaCppWrites(path));
    return made;
  };
  /** Loads and runs the file. @returns whether it loads; any failure must be a HeddleError */
  async function loads(path: string): Promise<boolean> {
    try {
      await using model = await LanguageModel.load(path);
      await model.embed([2, 5, 3]).catch((error: unknown) => expect(error).toBeInstanceOf(HeddleError));
      return true;
    } catch (error) {
      expect(error, String((error as Error).stack)).toBeInstanceOf(HeddleError);
      return false;
    }
  }

  test("load or give a HeddleError if a key is missing or of another type", async () => {
    const path = await small();
    expect(await loads(path)).toBe(true);
    const { metadata, file } = await openGguf(path);
    file.close();
    const others: (GgufValue | undefined)[] = [
      undefined,
      u32(0),
      u32(4294967295),
      f32(-0.5),
      text("x"),
      flag(true),
      { type: "array", of: "string", value: ["a", "a"] },
      { type: "array", of: "f32", value: new Float32Array(3) },
    ];
    const keys = [...metadata.values.keys()].filter((key) => !key.startsWith("general."));
    expect(keys.length).toBeGreaterThan(15);
    for (const key of keys) for (const other of others) await loads(await withoutHeddleKeys(path, { [key]: other }));
  });

  test("give a HeddleError if a tensor is missing or of another shape", async () => {
    const path = await small();
    const { metadata, file } = await openGguf(path);
    file.close();
    const tensors = await tensorsOf(path);
    for (const [i, { shape, bytes }] of tensors.entries()) {
      const row = (bytes as Uint8Array).length / shape[0]!;
      const less = { ...tensors[i]!, shape: [shape[0]! - 1, ...shape.slice(1)] };
      const cut = { ...less, bytes: (bytes as Uint8Array).subarray(0, row * (shape[0]! - 1)) };
      for (const other of [[], [cut]]) {
        const target = join(temporaryFolder(), "other.gguf");
        await writeGguf(target, { metadata: metadata.values, tensors: tensors.toSpliced(i, 1, ...other) });
        // A smaller embedding table is valid, because its rows determine the vocabulary size.
        const { name } = tensors[i]!;
        expect(await loads(target), name).toBe(name === "token_embd.weight" && other.length > 0);
      }
    }
  });

  test("give a HeddleError if truncated at any length, and survive a changed byte in the header", async () => {
    const bytes = readFileSync(await small());
    for (let length = 0; length < bytes.length; length += length < 20_000 ? 13 : 397)
      expect(await loads(temporaryFile(bytes.subarray(0, length), "cut.gguf"))).toBe(false);
    // The header has about 10,000 bytes.
    const head = (await openGguf(temporaryFile(bytes))).entries.get("token_embd.weight")!.offset;
    await fc.assert(
      fc.asyncProperty(fc.nat(head), fc.nat(255), async (at, byte) => {
        const other = Buffer.from(bytes);
        other[at] = byte;
        await loads(temporaryFile(other, "changed.gguf"));
      }),
      { numRuns: 200 },
    );
  });
});
