import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test, vi } from "vitest";
import { binding } from "../../lib/binding/index.ts";
import { HeddleError } from "../../lib/core/errors.ts";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.resetModules();
});

test("info returns the package version and the compiler", () => {
  const info = binding.info();
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  expect(info.version).toBe(version);
  expect(info.compiler).toMatch(/^(gcc|clang) \d+/);
  expect(info.cuda.built || info.cuda.devices.length === 0).toBe(true);
});

test("errors in native code are HeddleErrors with a code", () => {
  const wrong = () => binding.setErrorConstructor(1 as never);
  expect(wrong).toThrow(HeddleError);
  expect(wrong).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", name: "HeddleError" }));
});

test("getters throw a HeddleError for objects of another class", () => {
  const tensor = new binding.NativeTensor(64);
  const flag = new binding.AbortFlag();
  const getters = Object.entries(binding).flatMap(([name, value]) =>
    typeof value === "function" && value.prototype
      ? Object.entries(Object.getOwnPropertyDescriptors(value.prototype)).flatMap(([key, { get }]) =>
          get ? [{ name: `${name}.${key}`, type: value, get }] : [],
        )
      : [],
  );
  expect(getters.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      ...["NativeTensor.bytes", "NativeLane.arenaBytes", "NativeProgram.arenaBytes", "NativeExecutable.deviceSeconds"],
      ...["NativeExecutable.recordings", "MappedFile.size", "NativeTokenizer.size", "NativeDecoder.settled"],
    ]),
  );
  for (const { name, type, get } of getters)
    for (const other of [tensor, flag, {}, Object.create(type.prototype), new Proxy(tensor, {}), 5, undefined]) {
      if (other === tensor && name.startsWith("NativeTensor")) continue;
      expect(() => get.call(other), name).toThrow(
        expect.objectContaining({ name: "HeddleError", code: "INVALID_ARGUMENT" }),
      );
    }
});

test("each copy of the loader throws its own error class", async () => {
  vi.resetModules();
  const { binding: other } = await import("../../lib/binding/index.ts");
  const { HeddleError: OtherError } = await import("../../lib/core/errors.ts");
  expect(OtherError).not.toBe(HeddleError);
  expect(() => other.setErrorConstructor(1 as never)).toThrow(OtherError);
  expect(() => binding.setErrorConstructor(1 as never)).toThrow(HeddleError);
});

test("an addon that fails to load is reported as one typed error with build instructions", async () => {
  vi.resetModules();
  vi.stubEnv("HEDDLE_BINARY", "/no/such/heddle.node");
  await expect(import("../../lib/binding/index.ts")).rejects.toThrow(
    expect.objectContaining({
      name: "HeddleError",
      code: "UNSUPPORTED",
      message: expect.stringMatching(
        /^heddle: the native addon does not load on .*\/no\/such\/heddle\.node.* install a C\+\+17 compiler [^\n]*$/,
      ),
    }),
  );
});

test("workers load the addon and are terminated, and the main thread can still use it", async () => {
  vi.resetModules();
  const dlopen = vi.spyOn(process, "dlopen");
  await import("../../lib/binding/index.ts");
  const path = dlopen.mock.calls[0]![1];
  dlopen.mockRestore();
  const script = `
    const { parentPort, workerData } = require("node:worker_threads");
    const addon = { exports: {} };
    process.dlopen(addon, workerData);
    parentPort.postMessage(addon.exports.info().version);
    setInterval(() => addon.exports.info(), 0);`;
  const versions = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const worker = new Worker(script, { eval: true, workerData: path });
      const version = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
      await worker.terminate();
      return version;
    }),
  );
  expect(new Set(versions)).toEqual(new Set([binding.info().version]));
});

const failForTest = (binding as { failForTest?: (kind: string) => void }).failForTest;
// Only the sanitizer build has this hook: npm run test:asan.
describe.skipIf(!failForTest)("exception guard of the binding", () => {
  test.each([
    ["heddle", "INVALID_FILE", "x: expected a, got b"],
    ["bad_alloc", "OUT_OF_MEMORY", "out of memory"],
    ["std", "INTERNAL", "reason"],
    ["int", "INTERNAL", "an exception of an unknown type"],
  ])("turns a %s exception into %s", (kind, code, message) => {
    expect(() => failForTest?.(kind)).toThrow(expect.objectContaining({ name: "HeddleError", code, message }));
    expect(() => failForTest?.(kind)).toThrow(HeddleError);
  });

  test("passes JavaScript exceptions through", () => {
    expect(() => failForTest?.("javascript")).toThrow(RangeError);
  });
});
