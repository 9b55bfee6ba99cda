// A built-in family is one file of lib/models/families. A script writes the lists of families in index.ts and docs/models.md from these files.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { guide, index, indexOf, listFamilies, tableOf, withTable } from "../../scripts/tables/list-families.ts";

const families = await listFamilies();
const types = families.map(({ definition }) => definition.modelType);
const message = "The families changed. Run `npm run families` and commit the files that it writes.";
const read = (path: string | URL) => readFileSync(path, "utf8").replaceAll("\r\n", "\n");

test("families/index.ts imports every family", () => {
  expect(read(index), message).toBe(indexOf(families));
});

test("docs/models.md describes every family", () => {
  expect(read(guide), message).toBe(withTable(read(guide), tableOf(families)));
  for (const type of types) expect(read(guide)).toContain(`\n| \`${type}\` | `);
});

test("docs/models.md names bidirectional decoders, and GGUF's architectures of encoders", () => {
  const sectionOf = (title: string) => read(guide).split(`\n### ${title}\n`)[1]!.split("\n#")[0];
  for (const { definition } of families) {
    const { modelType, bidirectional, encoder, gguf } = definition;
    if (bidirectional) expect(sectionOf("Bidirectional decoders")).toContain(`\`${modelType}\``);
    if (encoder && gguf) expect(sectionOf("Encoders in GGUF files")).toContain(`\`${gguf.architecture}\``);
  }
});

/** Families without golden values, with the reason. */
const otherwise: Readonly<Record<string, string>> = {
  camembert: "its definition is roberta's, with another name",
  nomic_bert: "test/models/nomic-bert.test.ts has a reference",
};

test("every family has golden values of a reference", () => {
  const goldens = ["families", "models", "encoders"].flatMap((name): { config: { model_type: string } }[] =>
    JSON.parse(read(new URL(`../golden/${name}.json`, import.meta.url))),
  );
  const compared = new Set(goldens.map(({ config }) => config.model_type));
  const cure = "/usr/bin/python3 scripts/golden/families.py --update NAME writes golden values";
  expect(types.filter((type) => !compared.has(type)).sort(), cure).toEqual(Object.keys(otherwise));
});
