import { expect, test } from "vitest";
import { expectedName, unknownName } from "../../lib/core/nearest-name.ts";

test("the error for an unknown name suggests the nearest known name, or lists all of them", () => {
  const known = ["temperature", "topK"];
  expect(unknownName("options.temprature", "temprature", known, "option")).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: "options.temprature: expected a known option (nearest: temperature), got an unknown one",
  });
  expect(unknownName("zzz", "zzz", known).message).toBe("zzz: expected one of temperature, topK, got an unknown one");
});

test("a prefix is shown before each known name", () => {
  expect(expectedName("json", ["json"], "option", "--")).toBe("a known option (nearest: --json)");
  expect(expectedName(undefined, ["json", "file"], "option", "--")).toBe("one of --json, --file");
});

test("if there are no known names, the error expects no name", () => {
  expect(expectedName(undefined, [], "custom value of llama")).toBe("no custom value of llama");
});
