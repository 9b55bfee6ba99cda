// The check of symbols in the binaries of platforms. test/packaging/platforms applies it to what was built.
import { expect, test } from "vitest";
import { glibcNeeded, isNewer, problemsOf } from "../../scripts/platforms/check.mjs";
import { findTarget } from "../../scripts/platforms/targets.mjs";

test("versions are compared by number", () => {
  expect(isNewer("2.28", "2.3")).toBe(true);
  expect(isNewer("2.28", "2.28")).toBe(false);
  expect(isNewer("2.2.5", "2.28")).toBe(false);
});

test.runIf(process.platform === "linux")("the check finds the problems of Node's own executable", () => {
  const problems = problemsOf(findTarget("linux-x64-gnu"), process.execPath);
  expect(problems).toContain("libstdc++.so.6 is needed");
  expect(problems).toContain("napi_register_module_v1 is not exported");
  expect(problems).toContain("napi_create_object is exported");
  const other = process.arch === "arm64" ? "linux-x64-gnu" : "linux-arm64-gnu";
  expect(problemsOf(findTarget(other), process.execPath)[0]).toMatch(/^expected code for .*, got /);
  expect(glibcNeeded(process.execPath)).toMatch(/^2\.\d+/);
});
