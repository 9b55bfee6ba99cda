// Tokenizers with equal vocabularies share tables within a process, and heddle/tokenizer does not load model code.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { addonPath } from "../../helpers/addon.ts";
import { byteLevelJson, byteNames, fromJson } from "../samples.ts";

type Inside = { native: { modelNumber: number }; encode(text: string): Uint32Array };
const numberOf = (tokenizer: unknown) => (tokenizer as Inside).native.modelNumber;

describe("tables", () => {
  const json = byteLevelJson([["a", "b"]]);

  it("are shared only if the files are equal", () => {
    const one = fromJson(json);
    expect(numberOf(fromJson(json))).toBe(numberOf(one));
    const others = [
      byteLevelJson([["a", "c"]]),
      byteLevelJson([["a", "b"]], { normalizer: { type: "NFC" } }),
      byteLevelJson([["a", "b"]], {}, { ignore_merges: true }),
      byteLevelJson([["a", "b"]], { pre_tokenizer: { type: "ByteLevel", add_prefix_space: true, use_regex: true } }),
      byteLevelJson([["a", "b"]], { decoder: { type: "Fuse" } }),
    ].map((other) => fromJson(other));
    const numbers = [one, ...others].map(numberOf);
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  it("are shared by ten worker threads", async () => {
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      const loaded = { exports: {} };
      process.dlopen(loaded, workerData.path);
      const native = new loaded.exports.NativeTokenizer(workerData.spec);
      parentPort.postMessage([native.modelNumber, native.encode("abab", 0), ...native.output.slice(0, 2)]);
      parentPort.once("message", () => {});`;
    // Load the addon directly, since a worker cannot import TypeScript.
    const characters = [..."ab"];
    const spec = {
      tokens: [...characters, "ab"].join(""),
      tokenLengths: Uint32Array.of(1, 1, 2),
      tokenIds: Uint32Array.of(0, 1, 2),
      merges: "ab",
      mergeLengths: Uint32Array.of(1, 1),
      added: [],
      stages: new Uint32Array(),
      kind: 0,
      beginIds: new Uint32Array(),
      endIds: new Uint32Array(),
      byteLevel: true,
    };
    const path = addonPath();
    const workers = Array.from({ length: 10 }, () => new Worker(code, { eval: true, workerData: { path, spec } }));
    const answers = await Promise.all(
      workers.map((worker) => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject))),
    );
    await Promise.all(workers.map((worker) => worker.terminate()));
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect((answers[0] as number[]).slice(1)).toEqual([2, 2, 2]);
  });
});

// Sanitizers would add their own memory to the measurement.
const isSanitized = "failForTest" in binding;

describe("memory of ten worker threads", () => {
  it.skipIf(isSanitized)("is less than twice that of one thread", async () => {
    // 60,000 tokens of two to four letters: "abcd abce" is ab, cd, a space, ab, ce.
    const letters = [..."abcdefghijklmnopqrstuvwxyz"];
    let longest: string[] = letters;
    const merges: [string, string][] = [];
    for (const most of [676, 17_576, 42_000]) {
      const next: string[] = [];
      for (const part of longest) for (const letter of letters) if (next.length < most) next.push(part + letter);
      for (const token of next) merges.push([token.slice(0, -1), token.slice(-1)]);
      longest = next;
    }
    const folder = mkdtempSync(join(tmpdir(), "heddle-sharing-"));
    const file = join(folder, "tokenizer.json");
    const vocab = [...byteNames, ...merges.map((parts) => parts.join(""))];
    const model = { type: "BPE", vocab: Object.fromEntries(vocab.map((token, id) => [token, id])), merges };
    writeFileSync(file, JSON.stringify({ ...byteLevelJson([]), model }));
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      const { openSync, readSync, fstatSync, closeSync } = require("node:fs");
      const loaded = { exports: {} };
      process.dlopen(loaded, workerData.path);
      const { NativeTokenizer, readJsonVocabulary, bytesForFile } = loaded.exports;
      let kept;
      const load = () => {
        const opened = openSync(workerData.file);
        const bytes = bytesForFile(fstatSync(opened).size);
        readSync(opened, bytes);
        closeSync(opened);
        const vocabulary = readJsonVocabulary(bytes);
        const native = new NativeTokenizer({ ...workerData.spec, vocabulary });
        kept = [native, vocabulary];
        return native.encode("abcd abce", 0);
      };
      parentPort.on("message", (what) => parentPort.postMessage(what === "load" ? load() : (gc(), 0)));
      parentPort.postMessage(0);`;
    const spec = { added: [], stages: Uint32Array.of(0, 0, 1), kind: 0, byteLevel: true };
    const workerData = { path: addonPath(), file, spec };
    setFlagsFromString("--expose-gc");
    const workers = Array.from({ length: 10 }, () => new Worker(code, { eval: true, workerData }));
    const answer = (worker: Worker) =>
      new Promise<number>((resolve, reject) => worker.once("message", resolve).once("error", reject));
    const ask = (worker: Worker, what: string) => {
      const answered = answer(worker);
      worker.postMessage(what);
      return answered;
    };
    const held = async () => {
      // Collect garbage twice, because a worker releases the freed memory only after the turn of the first collection.
      for (const worker of [...workers, ...workers]) await ask(worker, "collect");
      return process.memoryUsage.rss();
    };
    try {
      await Promise.all(workers.map(answer));
      const before = await held();
      expect(await ask(workers[0]!, "load")).toBe(5);
      const one = (await held()) - before;
      for (const worker of workers.slice(1)) expect(await ask(worker, "load")).toBe(5);
      const ten = (await held()) - before;
      console.log(`one thread ${(one / 1e6).toFixed(1)} MB, ten ${(ten / 1e6).toFixed(1)} MB`);
      expect(ten).toBeLessThan(2 * one);
    } finally {
      await Promise.all(workers.map((worker) => worker.terminate()));
      rmSync(folder, { recursive: true });
    }
  });
});

describe("memory of collected tokenizers", () => {
  // Word caches must be mapped, not zeroed by malloc. Skipped with sanitizers, which retain freed memory.
  it.skipIf(isSanitized)("is reused", async () => {
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 900; i++) {
      const tokenizer = Tokenizer.fromFiles({ vocabText: `[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nx${1000 + i}` });
      expect(tokenizer.encode("x1000").length).toBe(3);
      await setImmediate(); // memory is released between tasks
    }
    const grown = (process.memoryUsage.rss() - before) / 1e6;
    console.log(`${grown.toFixed(0)} MB`);
    expect(grown).toBeLessThan(200);
  });
});

describe("heddle/tokenizer", () => {
  it("does not import model code", () => {
    const packages = new Set<string>();
    const lib = fileURLToPath(new URL("../../../lib", import.meta.url));
    const filesFrom = (imports: RegExp) => {
      const files = new Set<string>();
      const visit = (file: string) => {
        // Skip lib/hub, which looks up a model by name only if a file of that name is missing.
        if (files.has(file) || file.startsWith(join(lib, "hub"))) return;
        files.add(file);
        const source = readFileSync(file, "utf8");
        for (const [, path] of source.matchAll(imports)) visit(join(dirname(file), path!));
        for (const [, name] of source.matchAll(/^(?:import|export) .*from "([^."][^"]*)"/gmu))
          if (!name!.startsWith("node:")) packages.add(name!);
      };
      visit(join(lib, "tokenizer/index.ts"));
      return [...files].map((file) => relative(lib, file)).sort();
    };
    const foreign = (files: string[]) =>
      files.filter((file) => file.includes("/") && !/^(tokenizer|binding)\//.test(file));
    const files = filesFrom(/from\s*"(\.[^"]+)"/gu);
    const outside = foreign(files).filter((file) => !/^(core|io)\//.test(file));
    // The only imports from other folders: detection of file types, and the names of a tokenizer's files.
    const formats = ["file-kind", "safetensors/safetensors-head", "tokenizer-files"];
    expect(outside).toEqual(formats.map((name) => `formats/${name}.ts`));
    expect([...packages]).toEqual([]); // packages are loaded on first use, see lazy.ts
    // Loaded on demand: the path of the embedded model, the GGUF vocabulary reader and the dtype names.
    const later = foreign(filesFrom(/(?:from|import\()\s*"(\.[^"]+)"/gu)).filter((file) => !files.includes(file));
    expect(later).toContain("formats/gguf/gguf-metadata.ts");
    expect(later.filter((file) => !/^(core|formats|io)\//.test(file))).toEqual(["graph/dtype.ts"]);
    expect(later.filter((file) => /config|families|model-files|\/weights/.test(file))).toEqual([]);
    expect(files.length).toBeGreaterThan(20);
  });
});
