// Checkpoint digests: the native CRC-32C equals its definition, and a flipped bit in any file is detected.
import { copyFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { latestIntact, saveCheckpoint } from "../../lib/formats/checkpoint/checkpoint.ts";
import { Damage, findDamage, needIntact, readManifest } from "../../lib/formats/checkpoint/checkpoint-manifest.ts";
import { Digest, digestOfFile, digestOfText } from "../../lib/formats/digest.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { openDevice } from "../../lib/graph/index.ts";
import { expectError, temporaryFile, temporaryFolder } from "./helpers.ts";

const device = openDevice({ device: "cpu", threads: 2 });
const reading = { device };

/** CRC-32C computed bit by bit from the polynomial. */
function reference(bytes: Uint8Array): string {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0x82f63b78 : 0);
  }
  return `crc32c:${((sum ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0")}`;
}

let state = 1;
const random = (below: number) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state % below;
};
const randomBytes = (length: number) => Uint8Array.from({ length }, () => random(65536) >> 8);

describe("CRC-32C", () => {
  test("is correct for strings, arrays in parts and files", async () => {
    expect(digestOfText("123456789")).toBe("crc32c:e3069283"); // the standard's check value
    expect(digestOfText("")).toBe("crc32c:00000000");
    for (const length of [1, 7, 8, 9, 6143, 6144, 6145, 20_000, 262_144, 262_145, 700_001]) {
      const all = randomBytes(length + 8);
      const bytes = all.subarray(random(8)).subarray(0, length);
      const expected = reference(bytes);
      const digest = new Digest(device);
      const cut = random(length);
      await digest.update(bytes.subarray(0, cut));
      await digest.update(bytes.subarray(cut));
      expect(digest.text, `${length} bytes`).toBe(expected);
      expect(await digestOfFile(temporaryFile(bytes), reading), `a file of ${length}`).toBe(expected);
    }
    expect(await digestOfFile(temporaryFile(""), reading)).toBe("crc32c:00000000");
  });

  test("rejects values that are not bytes, and ranges out of bounds", async () => {
    const { lane } = device;
    const bytes = new Uint8Array(8);
    await expectError(() => lane.crc32c(bytes, 4, 5, 0), "INVALID_ARGUMENT", /within 8 bytes, got 5 bytes at 4/);
    await expectError(() => lane.crc32c(bytes, 0, 8, -1), "INVALID_ARGUMENT", /before/);
    await expectError(() => lane.crc32c({} as Uint8Array, 0, 8, 0), "INVALID_ARGUMENT", /MappedFile/);
    const path = temporaryFile("x");
    await expectError(() => digestOfFile(join(path, "y"), reading), "NOT_FOUND", /[\\/]y: /);
    const aborted = digestOfFile(path, { ...reading, signal: AbortSignal.abort() });
    await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
  });
});

const SIZE = 40_000;

async function save(folder: string, step: number): Promise<string> {
  const tensor = (name: string): TensorData => ({ name, dtype: "f32", shape: [SIZE], bytes: randomBytes(SIZE * 4) });
  const content = {
    tensors: { "model.safetensors": [tensor("w")], "optimizer.safetensors": [tensor("w.m"), tensor("w.v")] },
    state: { step, rng: [1, 2, 3], data: { position: 7 * step } },
    files: { "config.json": '{"hidden_size": 8}\n', "tokenizer.json": "{}", "empty.txt": "" },
  };
  return (await saveCheckpoint(folder, step, content)).path;
}

function flip(path: string, bit: number): void {
  const bytes = readFileSync(path);
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  writeFileSync(path, bytes);
}

test("a flipped bit in any file is detected, and the previous checkpoint is used", async () => {
  const folder = temporaryFolder();
  const [before, last] = [await save(folder, 1), await save(folder, 2)];
  expect(await latestIntact(folder, reading)).toMatchObject({ latest: { path: last }, passed: [] });
  const names = readdirSync(last);
  expect(names).toHaveLength(7);
  for (const name of names) {
    const path = join(last, name);
    const bits = readFileSync(path).length * 8;
    expect(bits > 0, name).toBe(name !== "empty.txt");
    if (bits === 0) continue;
    // Test many bits at the start of a file (lengths, headers), and some random bits.
    const places = [0, 7, 64, 77, 200, 1000, bits - 1, ...Array.from({ length: 24 }, () => random(bits))];
    for (const bit of new Set(places.filter((place) => place < bits))) {
      flip(path, bit);
      const { latest, passed } = await latestIntact(folder, reading);
      expect(latest?.path, `${name}: bit ${bit}`).toBe(before);
      expect(passed).toMatchObject([{ path: last, step: 2 }]);
      if (name === "checkpoint.json") expect(passed[0]!.why).toMatch(/: expected .*, got /);
      else expect(passed[0]!.why).toMatch(new RegExp(`^${name}: expected digest crc32c:[0-9a-f]{8}, got crc32c:`));
      await expectError(() => needIntact(last, reading), "INVALID_FILE", `${join(last, passed[0]!.why)}`);
      flip(path, bit);
    }
    expect(await findDamage(last, reading)).toBeUndefined();
  }
});

test("a manifest with a flipped bit is read as damaged, not as another checkpoint or as a checkpoint without digests", async () => {
  const path = await save(temporaryFolder(), 2);
  const file = join(path, "checkpoint.json");
  const whole = readFileSync(file);
  for (let bit = random(8); bit < whole.length * 8; bit += 1 + random(15)) {
    flip(file, bit);
    expect(await readManifest(path), `bit ${bit}`).toBeInstanceOf(Damage);
    writeFileSync(file, whole);
  }
});

test("a file of the same size from another checkpoint is detected, and missing or truncated files are named", async () => {
  const folder = temporaryFolder();
  const [before, last] = [await save(folder, 1), await save(folder, 2)];
  copyFileSync(join(before, "optimizer.safetensors"), join(last, "optimizer.safetensors"));
  expect(String(await findDamage(last, reading))).toMatch(/^optimizer\.safetensors: expected digest/);
  expect(await findDamage(last, reading, ["model.safetensors"])).toBeUndefined();
  truncateSync(join(last, "model.safetensors"), 5);
  expect(String(await findDamage(last, reading))).toMatch(/^model\.safetensors: expected \d+ bytes, got 5$/);
});

test("a checkpoint without digests is checked by file sizes", async () => {
  const folder = temporaryFolder();
  const path = await save(folder, 3);
  const manifest = JSON.parse(readFileSync(join(path, "checkpoint.json"), "utf8"));
  const { step, order, files } = manifest;
  writeFileSync(join(path, "checkpoint.json"), `${JSON.stringify({ step, order, files }, null, 2)}\n`);
  const weights = join(path, "model.safetensors");
  flip(weights, 5000);
  expect((await latestIntact(folder, reading)).latest).toMatchObject({ path, order: 1 });
  await needIntact(path, reading);
  flip(weights, 5000);
  const whole = readFileSync(weights);
  truncateSync(weights, 5);
  expect(String(await findDamage(path, reading))).toMatch(/^model\.safetensors: expected \d+ bytes, got 5$/);
  writeFileSync(weights, whole);
  expect(await findDamage(path, reading)).toBeUndefined();
  // A manifest with only one of the two fields is damaged.
  for (const lost of ["digests", "digest"]) {
    writeFileSync(join(path, "checkpoint.json"), JSON.stringify({ ...manifest, [lost]: undefined }));
    expect((await latestIntact(folder, reading)).latest).toBeUndefined();
  }
});
