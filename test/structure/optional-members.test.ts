// Callers may pass on optional values: `seed: options.seed` compiles even under exactOptionalPropertyTypes.
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";
import { givenMembers } from "../helpers/given-types.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const entries = ["index", "graph-entry", "ai-sdk/index", "serve/index", "tokenizer/index"].map(
  (name) => `${root}lib/${name}.ts`,
);

test("every optional member that callers fill in accepts undefined", () => {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const program = ts.createProgram(entries, { ...options, exactOptionalPropertyTypes: true });
  const members = givenMembers(program, entries);
  const names = members.map(({ name }) => name);
  for (const name of [
    "DecoderShape.norms",
    "Head.softcap",
    "SftOptions.seed",
    "GenerateOptions.topK",
    "ServeOptions.port",
  ])
    expect(names).toContain(name);
  expect(names.length).toBeGreaterThan(300);
  expect(members.filter((member) => !member.takesUndefined).map(({ name, where }) => `${name} (${where})`)).toEqual([]);
});
