import { describe, expect, test } from "vitest";
import type { OptionSpecs } from "../../lib/cli/command.ts";
import { parseArguments } from "../../lib/cli/parse.ts";

const specs: OptionSpecs = {
  out: { kind: "string", about: "" },
  steps: { kind: "integer", about: "" },
  rate: { kind: "number", about: "" },
  quiet: { kind: "flag", about: "" },
};
const options = (...args: string[]) => parseArguments(args, specs).options;

describe("the value of an option", () => {
  test("follows the option's name, or an equals sign", () => {
    expect(options("--out", "a", "--steps=5", "--rate", "-1")).toEqual({ out: "a", steps: 5, rate: -1 });
    expect(options("--out=a=b", "--quiet")).toEqual({ out: "a=b", quiet: true });
  });

  test.each([["--steps"], ["--steps=5"], ["--quiet"], ["--out=a"]])(
    "may look like an option of the command only after an equals sign: %s",
    (next) => {
      expect(() => options("--out", next)).toThrow(`--out: expected a value, got ${next}`);
      expect(options(`--out=${next}`)).toEqual({ out: next });
    },
  );

  test.each(["-x", "--stepsize=5", "--no", "a --steps=5", "--", "-"])(
    "may contain dashes if it is not an option of the command: %s",
    (next) => {
      expect(options("--out", next)).toEqual({ out: next });
    },
  );
});
