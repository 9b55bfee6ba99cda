// Error codes and their documentation.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { HeddleError, type HeddleErrorCode } from "../../lib/core/errors.ts";

// A record, so that the compiler detects a missing code.
const CODES: Record<HeddleErrorCode, true> = {
  INVALID_ARGUMENT: true,
  SHAPE_MISMATCH: true,
  INVALID_FILE: true,
  NOT_FOUND: true,
  UNSUPPORTED: true,
  INVALID_ANSWER: true,
  CONTEXT_OVERFLOW: true,
  DISPOSED: true,
  ABORTED: true,
  NUMERICAL: true,
  OUT_OF_MEMORY: true,
  DEVICE_LOST: true,
  IO: true,
  INTERNAL: true,
};
const reference = readFileSync(fileURLToPath(new URL("../../docs/errors.md", import.meta.url)), "utf8");

test("docs/errors.md has exactly one section per error code", () => {
  const sections = [...reference.matchAll(/^## (.+)$/gm)].map(([, title]) => title);
  expect(sections).toEqual(Object.keys(CODES));
});

test.each(Object.keys(CODES) as HeddleErrorCode[])("the docs link of %s points to its section", (code) => {
  const link = new URL(new HeddleError(code, "x: expected a, got b").docs);
  const { hash } = link;
  link.hash = "";
  expect(readFileSync(link, "utf8")).toBe(reference);
  expect(reference).toContain(`\n## ${hash.slice(1).toUpperCase()}\n`);
});
