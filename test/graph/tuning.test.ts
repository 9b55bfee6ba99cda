// The kernel tuning file is written atomically and validated when read.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { knownChoices, readTuning, tuningKey, tuningPath, writeTuning } from "../../lib/graph/tuning.ts";
import { temporaryFile, temporaryFolder } from "../formats/helpers.ts";
import { left } from "../helpers/left.ts";

const card = {
  index: 0,
  name: "NVIDIA H100",
  computeCapability: "9.0",
  memoryBytes: 8e10,
  multiprocessors: 132,
  driver: "13.0",
  pciBusId: "0000:3b:00.0",
};
const key = "64 4096 4096 bf16 bf16 f32 NT";
const file = (choices: unknown, device = tuningKey(card)) =>
  JSON.stringify({ format: 1, devices: { [device]: choices } });

afterEach(() => void vi.unstubAllEnvs());

test("a written tuning file reads back equal, and keeps devices and products that were not measured again", () => {
  const path = join(temporaryFolder(), "a", "tuning.json");
  expect(readTuning(path)).toEqual(new Map());
  writeTuning(path, "one", new Map([[key, "tensor 128x128"]]));
  writeTuning(path, "two", new Map([[key, "tensor 64x64 parts"]]));
  writeTuning(path, "one", new Map([["64 8 8 f32 f32 f32 TN", "multiply_add 64x64"]]));
  expect(readTuning(path)).toEqual(
    new Map([
      [
        "one",
        new Map([
          [key, "tensor 128x128"],
          ["64 8 8 f32 f32 f32 TN", "multiply_add 64x64"],
        ]),
      ],
      ["two", new Map([[key, "tensor 64x64 parts"]])],
    ]),
  );
  expect(readdirSync(join(path, ".."))).toEqual(["tuning.json"]);
});

test("a file that many drivers and versions have filled can be written and read again, without the oldest devices", () => {
  const path = join(temporaryFolder(), "tuning.json");
  const choices = new Map([[key, "tensor 128x128"]]);
  for (let i = 0; i < 64; i++) writeTuning(path, `driver ${i}`, choices);
  writeTuning(path, "driver 0", choices);
  writeTuning(path, "driver 64", choices);
  const devices = [...readTuning(path).keys()];
  expect(devices).toHaveLength(64);
  expect([devices[0], ...devices.slice(-2)]).toEqual(["driver 2", "driver 0", "driver 64"]);
});

test("a written file stays within the sizes that reading accepts", () => {
  const path = join(temporaryFolder(), "tuning.json");
  const many = (from: number) =>
    new Map(
      Array.from({ length: 20_000 }, (_, i) => [`${from + i} 4096 4096 bf16 bf16 f32 NT`, "tensor 128x128 parts"]),
    );
  for (const device of ["one", "two", "three", "four"]) writeTuning(path, device, many(0));
  writeTuning(path, "four", new Map([["7 7 7 f32 f32 f32 TN", "multiply_add 64x64"]]));
  const read = readTuning(path);
  expect([...read.keys()].at(-1)).toBe("four");
  expect(read.size).toBeGreaterThan(1);
  expect(read.get("four")!.size).toBe(20_000);
  expect(read.get("four")!.get("7 7 7 f32 f32 f32 TN")).toBe("multiply_add 64x64");
});

test("writing removes temp files of dead processes and keeps those of live ones", () => {
  const folder = temporaryFolder();
  const living = left(".tuning.json", ".tmp", process.ppid);
  for (const name of [left(".tuning.json", ".tmp"), living]) writeFileSync(join(folder, name), "{");
  writeTuning(join(folder, "tuning.json"), "one", new Map());
  expect(readdirSync(folder).sort()).toEqual([living, "tuning.json"]);
});

test("writing does not replace an unrelated file or a folder", () => {
  const path = temporaryFile("{}");
  expect(() => writeTuning(path, "one", new Map())).toThrow("expected");
  expect(readFileSync(path, "utf8")).toBe("{}");
  const folder = temporaryFolder();
  expect(() => writeTuning(folder, "one", new Map())).toThrow(expect.objectContaining({ code: "IO" }));
  expect(readdirSync(join(folder, "..")).filter((name) => name.startsWith(`.${basename(folder)}`))).toEqual([]);
});

describe("the content of a tuning file", () => {
  test.each([
    ["nothing", "", "expected JSON"],
    ["a truncated file", file({ [key]: "tensor 64x64" }).slice(0, -9), "expected JSON"],
    ["an array", "[]", 'expected { "format": 1'],
    ["an unknown format version", '{"format":2,"devices":{}}', 'expected { "format": 1'],
    ["devices in an array", '{"format":1,"devices":[]}', 'expected { "format": 1'],
    ["choices in an array", file(["x"]), "an object of products"],
    ["null", file(null), "an object of products"],
    ["an invalid name of a product", file({ x: "tensor 64x64" }), 'a product such as "64 4096 4096 bf16 bf16 f32 NT"'],
    ["a number as a kernel", file({ [key]: 7 }), "a kernel such as"],
    ["a path as a kernel", file({ [key]: "../../etc/passwd" }), "a kernel such as"],
    ["a long key", file({ [`${"9".repeat(1e5)} 1 1 f32 f32 f32 NT`]: "tensor 64x64" }), "a product such as"],
    [
      "too many devices",
      `{"format":1,"devices":{${Array.from({ length: 65 }, (_, i) => `"${i}":{}`).join()}}}`,
      "at most 64 devices",
    ],
    [
      "too many products",
      file(Object.fromEntries(Array.from({ length: 20_001 }, (_, i) => [`8 ${i} 1 f32 f32 f32 NT`, "tensor 64x64"]))),
      "at most 20000 products",
    ],
    ["a file above the size limit", " ".repeat((4 << 20) + 1), "at most 4194304 bytes"],
  ])("is rejected if it is invalid: %s", (_, content, message) => {
    const path = temporaryFile(content, "tuning.json");
    expect(() => readTuning(path)).toThrow(
      expect.objectContaining({ code: "INVALID_FILE", message: expect.stringContaining(message) }),
    );
    // Looking up choices warns instead of throwing.
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    vi.stubEnv("HEDDLE_TUNING", path);
    expect(knownChoices(card)).toEqual(new Map());
    expect(knownChoices(card)).toEqual(new Map());
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining(message), {
      type: "HeddleWarning",
      code: "HEDDLE_TUNING",
    });
    warn.mockRestore();
    expect(statSync(path).size).toBe(content.length);
  });

  test("may name a device like a built-in JavaScript property", () => {
    const path = temporaryFile(file({ [key]: "tensor 64x64" }, "__proto__"), "tuning.json");
    expect([...readTuning(path).keys()]).toEqual(["__proto__"]);
    const other = temporaryFile('{"format":1,"devices":{"a":{"__proto__":"tensor 64x64"}}}', "tuning.json");
    expect(() => readTuning(other)).toThrow("a product such as");
  });
});

// `+` marks a product that adds to its result, and `*` a gated one.
test("every kind of product that the device describes can be in the file", () => {
  const choices = new Map(["", "+", "*", "+*"].map((kind) => [`${key}${kind}`, "tensor 64x64"]));
  const path = join(temporaryFolder(), "tuning.json");
  writeTuning(path, tuningKey(card), choices);
  expect(readTuning(path).get(tuningKey(card))).toEqual(choices);
});

test("choices apply to the same GPU and driver only", () => {
  const path = join(temporaryFolder(), "tuning.json");
  vi.stubEnv("HEDDLE_TUNING", path);
  writeTuning(path, tuningKey(card), new Map([[key, "tensor 128x128"]]));
  expect(knownChoices(card)).toEqual(new Map([[key, "tensor 128x128"]]));
  expect(knownChoices({ ...card, driver: "13.1" })).toEqual(new Map());
  expect(knownChoices({ ...card, name: "NVIDIA H200" })).toEqual(new Map());
  vi.stubEnv("HEDDLE_TUNING", "off");
  expect(tuningPath()).toBeUndefined();
  expect(knownChoices(card)).toEqual(new Map());
});

test("the tuning file is in the user's cache folder by default", () => {
  vi.stubEnv("HEDDLE_TUNING", undefined);
  vi.stubEnv("XDG_CACHE_HOME", "/somewhere");
  expect(tuningPath()).toBe(join("/somewhere", "heddle", "tuning.json"));
});
