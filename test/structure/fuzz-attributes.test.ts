// The fuzz target of ops has its own list of attributes, because C++ cannot list the names that an op reads.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, "utf8");

test("the fuzz target of ops sets every attribute that an op reads", () => {
  const listed = /attribute_names\[\] = \{([^}]*)\}/.exec(read("test/fuzz/ops.cc"))![1]!;
  const set = new Set([...listed.matchAll(/"([^"]+)"/g)].map(([, name]) => name));
  const sources = readdirSync(`${root}native`, { recursive: true, encoding: "utf8" })
    .filter((path) => /^(ops|cpu|cuda)\/.*\.(cc|h|cu|cuh)$/.test(path.replaceAll("\\", "/")))
    .map((path) => read(`native/${path}`));
  const used = sources.flatMap((text) =>
    [...text.matchAll(/\b(?:attr(?:_int|_flag)?|attributes->(?:get|integer|flag))\(\s*"([^"]+)"/g)].map(
      ([, name]) => name,
    ),
  );
  expect(used.length).toBeGreaterThan(50);
  expect([...new Set(used)].filter((name) => !set.has(name!))).toEqual([]);
});
