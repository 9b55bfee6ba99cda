// The public surface of every entry point is checked in, so that any change to it shows up in review.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const { publicSurface, surfaceFile } = (await import(
  new URL("../../scripts/list-surface.mjs", import.meta.url).href
)) as { publicSurface: () => string; surfaceFile: string };

test("the public surface is the one that is checked in", () => {
  const listed = readFileSync(surfaceFile, "utf8").replaceAll("\r\n", "\n");
  const message = "The public surface changed. If that is meant, run `npm run surface` and commit the list.";
  expect(publicSurface(), message).toBe(listed);
});

test("the list marks every export as stable or experimental", () => {
  const lines = readFileSync(surfaceFile, "utf8").split(/\r?\n/);
  const named = lines.filter((line) => line !== "" && !/^(#| {2})/.test(line));
  expect(named.filter((line) => !/^(stable|experimental) (class|interface|type|function|const) \w/.test(line))).toEqual(
    [],
  );
  expect(named.some((line) => line.startsWith("experimental function autotune("))).toBe(true);
});
