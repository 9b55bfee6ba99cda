// Any bytes in any file give a model or a HeddleError. Valid files are corrupted in known and random places, and truncated at every byte.
// Shared by hostile.test.ts (a sample) and hostile.full.test.ts.
import { cpSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, onTestFinished, test, vi } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { HeddleError } from "../../lib/core/errors.ts";
import { atOnce } from "../../lib/core/slices.ts";
import { latestCheckpoint, readCheckpointState, saveCheckpoint } from "../../lib/formats/checkpoint/checkpoint.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../lib/formats/gguf/gguf-write.ts";
import { readModelCard } from "../../lib/formats/model-card.ts";
import { openSafetensors } from "../../lib/formats/safetensors/safetensors.ts";
import { pieceOf } from "../../lib/formats/weight-dtype.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { BLOCK_TYPES, type QuantizedDType } from "../../lib/graph/dtype.ts";
import { VoteFile } from "../../lib/rank/vote-file.ts";
import { renderTemplate } from "../../lib/tokenizer/chat/jinja/render.ts";
import { chatMlTemplate, plainTemplate, Tokenizer } from "../../lib/tokenizer/index.ts";
import { familyGoldens, writeFamily } from "../golden/families.ts";
import { tinyModel } from "../inference/helpers.ts";
import { temporaryFolder } from "./helpers.ts";
import { modelFolder } from "./model-folder.ts";
import { broken, brokenJson } from "./mutate.ts";
import { COMPUTED, cuts, survives, use } from "./survives.ts";

/**
 * Returns positions in a GGUF file's head where counts, lengths, dimensions, types and offsets may be: its fixed fields, and every fourth
 * byte of the 800 bytes before the data.
 */
async function headOf(path: string): Promise<number[]> {
  const { file, entries } = await openGguf(path);
  file.close();
  const data = Math.min(...[...entries.values()].map(({ offset }) => offset));
  return [...new Set([0, 4, 8, 16, ...Array.from({ length: 200 }, (_, i) => Math.max(0, data - 4 * i))])];
}

/** @param runs number of broken files per kind @param seed seed of the damage; random if omitted */
export function hostileFiles(runs: number, seed?: number): void {
  const parameters = (share = 1) => ({
    numRuns: Math.max(10, Math.round(runs * share)),
    ...(seed !== undefined && { seed }),
    endOnFailure: true,
  });

  test.each(Object.keys(BLOCK_TYPES) as QuantizedDType[])(
    "a GGUF file with %s survives truncation at every byte",
    async (dtype) => {
      const path = join(temporaryFolder(), "rows.gguf");
      const { elements, bytes } = pieceOf(dtype);
      const data = Uint8Array.from({ length: 2 * bytes }, (_, i) => (i * 151 + 7) & 255);
      const tensors = [{ name: "w", dtype, shape: [2, elements], bytes: data }];
      await writeGguf(path, { metadata: new Map([["general.name", { type: "string", value: "rows" }]]), tensors });
      const opened = await openGguf(path);
      const { offset, bytes: size } = opened.entries.get("w")!;
      expect(new Uint8Array(opened.file.bytes(offset, size))).toEqual(data);
      opened.file.close();
      for (let length = offset + size - 1; length >= 0; length--) {
        truncateSync(path, length);
        await expect(openGguf(path), `${length} bytes`).rejects.toThrow(
          expect.objectContaining({ code: "INVALID_FILE" }),
        );
      }
    },
  );

  test("GGUF models survive damage anywhere, also if they are quantized", async () => {
    const folder = await modelFolder();
    for (const dtype of ["f32", "q8_0", "q4_0"] as const) {
      const path = join(folder, `${dtype}.gguf`);
      await convertModel(folder, path, { dtype });
      await use(path);
      const whole = readFileSync(path);
      const target = join(folder, "broken.gguf");
      await fc.assert(
        fc.asyncProperty(broken(whole, await headOf(path)), async (bytes) => {
          writeFileSync(target, bytes);
          await survives(() => use(target), COMPUTED);
        }),
        parameters(0.5),
      );
    }
  });

  test("GGUF metadata survives missing keys, wrong types and values out of range", async () => {
    const folder = await modelFolder();
    const path = join(folder, "whole.gguf");
    await convertModel(folder, path);
    const weights = await openWeights(path);
    const values = weights.gguf!.values;
    const tensors = weights.names().map((name) => {
      const { file, offset, bytes, dtype, shape } = weights.tensor(name);
      return { name, dtype, shape, bytes: new Uint8Array(file.bytes(offset, bytes)) };
    });
    weights.close();
    const lies: (GgufValue | undefined)[] = [
      undefined,
      { type: "string", value: "x" },
      { type: "string", value: "" },
      { type: "u32", value: 0 },
      { type: "u32", value: 4_294_967_295 },
      { type: "i32", value: -1 },
      { type: "f32", value: Number.NaN },
      { type: "f64", value: 1e300 },
      { type: "u64", value: 2n ** 63n },
      { type: "bool", value: true },
      { type: "array", of: "string", value: ["a", "a"] },
      { type: "array", of: "i32", value: Int32Array.of(-1, 7) },
      { type: "array", of: "array", value: [] },
    ];
    const target = join(folder, "lie.gguf");
    for (const key of [
      ...values.keys(),
      "split.count",
      "llama.attention.sliding_window",
      "llama.attention.causal",
      "tokenizer.huggingface.json",
    ].filter((k) => k !== "general.alignment")) {
      for (const lie of lies) {
        const metadata = new Map(values);
        if (lie) metadata.set(key, lie);
        else metadata.delete(key);
        await writeGguf(target, { metadata, tensors });
        await survives(() => use(target), COMPUTED);
      }
    }
  });

  test.each(["gpt_oss in MXFP4", "qwen3_moe", "phi3 with longrope"])(
    "a folder of %s survives damage anywhere",
    async (name) => {
      const folder = await writeFamily(familyGoldens.find((golden) => golden.name === name)!, temporaryFolder());
      await use(folder);
      const path = join(folder, "model.safetensors");
      const whole = readFileSync(path);
      const header = Number(whole.readBigUInt64LE(0));
      const fields = [0, ...Array.from({ length: 300 }, (_, i) => 8 + Math.floor((i * header) / 300))];
      await fc.assert(
        fc.asyncProperty(broken(whole, fields), async (bytes) => {
          writeFileSync(path, bytes);
          await survives(() => use(folder), COMPUTED);
        }),
        parameters(0.5),
      );
    },
  );

  test("a model's safetensors survive damage anywhere", async () => {
    const folder = await modelFolder();
    await use(folder);
    const path = join(folder, "model.safetensors");
    const whole = readFileSync(path);
    const header = Number(whole.readBigUInt64LE(0));
    const fields = [0, ...Array.from({ length: 300 }, (_, i) => 8 + Math.floor((i * header) / 300))];
    await fc.assert(
      fc.asyncProperty(broken(whole, fields), async (bytes) => {
        writeFileSync(path, bytes);
        await survives(() => use(folder), COMPUTED);
      }),
      parameters(),
    );
    const small = join(folder, "cut.safetensors");
    writeFileSync(small, whole);
    for (let length = 8 + header; length >= 0; length--) {
      truncateSync(small, length);
      expect(() => openSafetensors(small), `${length} bytes`).toThrow(
        expect.objectContaining({ code: "INVALID_FILE" }),
      );
    }
  });

  test.each([
    ...["config.json", "generation_config.json", "tokenizer.json", "model_card.json", "modules.json"],
    ...["1_Pooling/config.json", "2_Dense/config.json"],
    ...["config_sentence_transformers.json", "sentence_bert_config.json"],
  ])("a model's %s survives damage anywhere and truncation at every byte", async (name) => {
    const folder = await modelFolder(true);
    const path = join(folder, name);
    const whole = readFileSync(path);
    // Reading a card warns about fields that it drops.
    const warned = vi.spyOn(process, "emitWarning").mockReturnValue();
    onTestFinished(() => warned.mockRestore());
    const read = (): Promise<unknown> =>
      name === "tokenizer.json"
        ? Tokenizer.load(folder)
        : name === "model_card.json"
          ? readModelCard(folder)
          : use(folder);
    await read();
    await fc.assert(
      fc.asyncProperty(brokenJson(JSON.parse(whole.toString())), async (text) => {
        writeFileSync(path, text);
        await survives(read, name === "config.json" ? [...COMPUTED, "OUT_OF_MEMORY"] : COMPUTED);
      }),
      parameters(0.6),
    );
    // The file is valid without its trailing whitespace.
    const text = whole.toString().trimEnd();
    for (const length of cuts(text.length, runs >= 1000)) {
      writeFileSync(path, text.slice(0, length));
      expect(await survives(read), `${length} characters`).toBe("INVALID_FILE");
    }
  });

  test("an adapter's files survive damage anywhere and truncation at every byte", async () => {
    const folder = temporaryFolder();
    const model = tinyModel({}, { numHiddenLayers: 1 });
    await model.model.addAdapter("a", { r: 2, targetModules: ["q_proj", "v_proj"] });
    const adapter = join(folder, "adapter");
    await model.saveAdapter(adapter, { name: "a" });
    const copy = join(folder, "copy");
    cpSync(adapter, copy, { recursive: true });
    let count = 0;
    const read = async () => {
      const name = `n${count++}`;
      await model.loadAdapter(copy, { name });
      model.model.removeAdapter(name);
    };
    await read();
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
      const whole = readFileSync(join(adapter, file));
      const path = join(copy, file);
      const text = whole.toString("latin1").trimEnd();
      const inputs: fc.Arbitrary<string | Buffer> = file.endsWith(".json")
        ? brokenJson(JSON.parse(text))
        : broken(whole, [0, 8, 20, 40, 60, 80]);
      await fc.assert(
        fc.asyncProperty(inputs, async (content) => {
          writeFileSync(path, content);
          await survives(read, ["INVALID_ARGUMENT", "SHAPE_MISMATCH"]);
        }),
        parameters(0.6),
      );
      for (const length of cuts((file.endsWith(".json") ? text : whole).length, runs >= 1000)) {
        writeFileSync(path, whole.subarray(0, length));
        expect(await survives(read), `${file}: ${length} bytes`).toBe("INVALID_FILE");
      }
      writeFileSync(path, whole);
    }
    model.dispose();
  });

  test("a vote file survives damage anywhere and truncation at every byte", async () => {
    const path = join(temporaryFolder(), "votes.jsonl");
    const rows = [
      { prompt: "a", chosen: "x", rejected: "ü" },
      { item: 1, skipped: true },
      { prompt: "b", chosen: "1", rejected: "2" },
    ];
    const whole = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const read = async () => {
      const { file, rows: kept } = await VoteFile.open(path);
      await file.close();
      return kept.length;
    };
    for (let length = 0; length <= whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      const lines = whole.subarray(0, length).toString("latin1").split("\n");
      const last = whole.toString("latin1").split("\n")[lines.length - 1]!;
      expect(await read(), `${length} bytes`).toBe(
        lines.length - 1 + Number(lines.at(-1) !== "" && lines.at(-1) === last),
      );
    }
    await fc.assert(
      fc.asyncProperty(broken(whole), async (bytes) => {
        writeFileSync(path, bytes);
        await survives(read);
      }),
      parameters(),
    );
  });

  test("a checkpoint's manifest and state survive damage anywhere and truncation at every byte", async () => {
    const folder = temporaryFolder();
    const state = { step: 4, rng: [1, 2, 3], note: "ü" };
    const { path } = await saveCheckpoint(folder, 4, { tensors: {}, state, files: { "config.json": "{}" } });
    const read = async () => {
      await latestCheckpoint(folder);
      await readCheckpointState(path);
    };
    await read();
    for (const name of ["checkpoint.json", "trainer_state.json"]) {
      const file = join(path, name);
      const whole = readFileSync(file);
      await fc.assert(
        fc.asyncProperty(brokenJson(JSON.parse(whole.toString())), async (text) => {
          writeFileSync(file, text);
          await survives(read);
        }),
        parameters(),
      );
      for (let length = 0; length < whole.toString("latin1").trimEnd().length; length++) {
        writeFileSync(file, whole.subarray(0, length));
        await survives(read);
        expect(await latestCheckpoint(folder), `${name}: ${length} bytes`).toBeUndefined();
      }
      writeFileSync(file, whole);
      expect(await latestCheckpoint(folder)).toMatchObject({ step: 4 });
    }
  });

  test("chat templates survive damage anywhere", async () => {
    const messages = [
      { role: "system", content: "s" },
      { role: "user", content: "a<|im_end|>" },
      { role: "assistant", content: "b" },
    ];
    const loop =
      "{%- set ns = namespace(n=0) -%}{% for m in messages %}{{ m['content'] | trim | upper }}{{ loop.index0 * 2 // 1 }}{% if not loop.last %}{{ [1,2][0] }}{% endif %}{% endfor %}{{ range(3) | list | tojson }}{{ 'x' * 3 }}";
    const pieces = [
      "{{",
      "}}",
      "{%",
      "%}",
      " for i in range(99999) ",
      " * 99999999",
      "| length",
      "|tojson",
      "(",
      ")",
      "[",
      "]",
      "messages",
      ".",
      "{% set x = x ~ x %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "-1",
      "'",
      "\\",
      "\u0000",
    ];
    const edits = fc.array(fc.tuple(fc.nat(400), fc.constantFrom(...pieces), fc.nat(6)), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(chatMlTemplate, plainTemplate, loop), edits, async (template, changes) => {
        let text = template;
        for (const [at, piece, removed] of changes) text = text.slice(0, at) + piece + text.slice(at + removed);
        // The watchdog stops a template after a second of wall time, so no time is measured here.
        try {
          atOnce(renderTemplate(text, { messages }));
        } catch (error) {
          expect(error).toBeInstanceOf(HeddleError);
          expect(["INVALID_FILE", "INVALID_ARGUMENT"]).toContain((error as HeddleError).code);
        }
      }),
      parameters(2),
    );
  });
}
