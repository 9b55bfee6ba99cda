// Memory for reading or rejecting a file is bounded by its actual size, not by sizes that it claims.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder, text, u32, u64 } from "../formats/helpers.ts";
import { entry, node } from "./helpers.ts";

/** Peak memory in bytes of a process that tries to load `path`, and the error code. */
async function peak(path: string): Promise<{ code: string; bytes: number }> {
  const { code, stdout, stderr } = await node([
    "--input-type=module",
    "-e",
    `import { existsSync, readFileSync } from "node:fs";
     import { LanguageModel } from ${JSON.stringify(entry)};
     const code = await LanguageModel.load(${JSON.stringify(path)}).then(() => "loaded", (error) => error.code ?? String(error));
     // On Linux, maxRSS includes the parent's memory at the fork; VmHWM does not.
     const own = existsSync("/proc/self/status") && /VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"));
     console.log(JSON.stringify({ code, bytes: (own ? Number(own[1]) : process.resourceUsage().maxRSS) * 1024 }));`,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

const MB = 1 << 20;
/** Maximum size of V8's young generation (three semi-spaces of 16 MB), which may be full of objects that are not collected yet. */
const YOUNG_GENERATION = 48 * MB;
const key = (name: string, type: number, ...body: Buffer[]) => Buffer.concat([text(name), u32(type), ...body]);
const gguf = (keys: Buffer[], tensors = 0n, rest = Buffer.alloc(0)) =>
  Buffer.concat([Buffer.from("GGUF"), u32(3), u64(tensors), u64(keys.length), ...keys, rest]);
const llama = key("general.architecture", 8, text("llama"));
const array = (of: number, length: bigint | number, body: Buffer) => key("a", 9, u32(of), u64(length), body);
const safetensors = (json: string, rest = 0) =>
  Buffer.concat([u64(Buffer.byteLength(json)), Buffer.from(json), Buffer.alloc(rest)]);

const files: [string, string, () => Buffer][] = [
  ["a million short strings", "x.gguf", () => gguf([llama, array(8, MB, Buffer.alloc(8 * MB))])],
  ["more strings than the limit", "x.gguf", () => gguf([llama, array(8, 5_000_000n, Buffer.alloc(40_000_000))])],
  ["one string of 60 MB", "x.gguf", () => gguf([llama, key("a", 8, text("x".repeat(60 * MB)))])],
  ["an array of 60 MB of numbers", "x.gguf", () => gguf([llama, array(6, 15n * BigInt(MB), Buffer.alloc(60 * MB))])],
  ["a count of 2^60 elements", "x.gguf", () => gguf([llama, array(10, 2n ** 60n, Buffer.alloc(30 * MB))])],
  ["booleans", "x.gguf", () => gguf([llama, array(7, 4n * BigInt(MB), Buffer.alloc(4 * MB))])],
  ["nested arrays", "x.gguf", () => gguf([llama, array(9, 65_536n, Buffer.alloc(12 * 65_536))])],
  ["a hundred thousand tensors without data", "x.gguf", () => gguf([llama], 100_000n)],
  ["a header of 60 MB of brackets", "x.safetensors", () => safetensors(`{"a":${"[".repeat(60 * MB)}`)],
  ["a header of 30 MB of numbers", "x.safetensors", () => safetensors(`{"a":[${"1,".repeat(15 * MB)}1]}`)],
  ["a header of 30 MB of escapes", "x.safetensors", () => safetensors(`{"${"\\u00fc".repeat(1_300_000)}":1}`)],
];

test("rejecting a file takes more memory than rejecting an empty one by at most twice its size plus 48 MB", async () => {
  const folder = temporaryFolder();
  const write = (name: string, bytes: Buffer) => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  writeFileSync(join(folder, "config.json"), "{}");
  const base = (await peak(write("x.gguf", Buffer.alloc(0)))).bytes;
  const found: Record<string, number> = {};
  for (const [label, name, make] of files) {
    const bytes = make();
    const got = await peak(write(name, bytes));
    expect(["INVALID_FILE", "UNSUPPORTED"], label).toContain(got.code);
    found[label] = got.bytes - base - 2 * bytes.length;
  }
  const over = Object.entries(found).filter(([, more]) => more > YOUNG_GENERATION);
  expect(over, JSON.stringify(found)).toEqual([]);
});

const manyValues = (bytes: number) => Buffer.from(`{"zz":[${"{},".repeat(bytes / 3)}{}]}`);
const whole = (bytes: number) => key("tokenizer.huggingface.json", 8, text(manyValues(bytes).toString()));
const tokens = key("tokenizer.ggml.tokens", 9, u32(8), u64(1), text("a"));
/** The largest token id that the file with a single token has. */
const MAX_ID = 4194303;
const jsonFiles: [name: string, bytes: () => Buffer][] = [
  ["tokenizer.json", () => manyValues(100 * MB)],
  ["tokenizer.json", () => manyValues(160 * MB)],
  ["tokenizer_config.json", () => manyValues(60 * MB)],
  ["special_tokens_map.json", () => manyValues(15 * MB)],
  ["special_tokens_map.json", () => manyValues(250 * MB)],
  ["tokenizer.json", () => Buffer.from(`{"model":{"type":"BPE","vocab":{"!":${MAX_ID}},"merges":[]}}`)],
  ["x.gguf", () => gguf([whole(40 * MB), tokens])],
];

test.skipIf(!existsSync("/proc/self/status"))(
  "rejecting JSON with very many values takes less than a second of CPU time, and memory in proportion to the file, below 208 MB",
  async () => {
    const empty = temporaryFolder();
    writeFileSync(join(empty, "tokenizer.json"), "{}");
    const base = await tokenizerPeak(empty);
    for (const [name, make] of jsonFiles) {
      const folder = temporaryFolder();
      const bytes = make();
      writeFileSync(join(folder, name), bytes);
      if (name !== "tokenizer.json") writeFileSync(join(folder, "tokenizer.json"), "{}");
      const got = await tokenizerPeak(folder, name.endsWith(".gguf") ? name : "");
      const said = `${name} of ${bytes.length} bytes: ${JSON.stringify(got)}`;
      expect(got.code, said).toBe("INVALID_FILE");
      // A GGUF file's pages count as memory while they are mapped.
      const times = name.endsWith(".gguf") ? 3 : 2;
      const idBytes = 8 * (MAX_ID + 1); // an entry of 8 bytes for each id up to the largest, even if few are used
      expect(got.bytes - base.bytes, said).toBeLessThan(Math.max(times * bytes.length, idBytes));
      // The largest file that is read as a whole, and the young generation.
      expect(got.bytes - base.bytes, said).toBeLessThan(160 * MB + YOUNG_GENERATION);
      expect(got.ms, said).toBeLessThan(1000);
    }
  },
);

/** Like `peak`, for a tokenizer, with the CPU time of loading. */
async function tokenizerPeak(folder: string, file = ""): Promise<{ code: string; bytes: number; ms: number }> {
  const { stdout, stderr, code } = await node([
    "--input-type=module",
    "-e",
    `import { readFileSync } from "node:fs";
     import { Tokenizer } from ${JSON.stringify(entry)};
     const begun = process.cpuUsage();
     const code = await Tokenizer.load(${JSON.stringify(join(folder, file))}).then(() => "loaded", (error) => error.code ?? String(error));
     const { user, system } = process.cpuUsage(begun);
     const own = /VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"));
     console.log(JSON.stringify({ code, ms: (user + system) / 1000, bytes: Number(own[1]) * 1024 }));`,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}
