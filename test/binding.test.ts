import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { binding } from "../lib/binding.ts";
import { HeddleError } from "../lib/errors.ts";

test("info names this version and a compiler", () => {
  const info = binding.info();
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  expect(info.version).toBe(version);
  expect(info.compiler).toMatch(/^(gcc|clang) \d+/);
  expect(info.cuda.built || info.cuda.devices.length === 0).toBe(true);
});

test("native errors are HeddleErrors with a code", () => {
  expect(() => binding.setErrorConstructor(1 as never)).toThrow(HeddleError);
  expect(() => binding.setErrorConstructor(1 as never)).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT", name: "HeddleError" }),
  );
});
