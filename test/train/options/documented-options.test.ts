// docs/training.md names every option of every stage, with its default as `heddle train STAGE --help` shows it.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { defaultText } from "../../../lib/cli/options/config-keys.ts";
import { infoOf, type Shape } from "../../../lib/train/options/option.ts";
import { guide, optionTables, withTables } from "../../../scripts/tables/list-options.ts";
import { schemasByStage } from "./stage-schemas.ts";

type Defaults = ReadonlyMap<string, string>;

/** Returns the defaults of options by name. `lora.r` is the option `r` inside `lora`. */
function defaultsOf(shape: Shape, place = ""): Defaults {
  return new Map(
    Object.entries(shape).flatMap(([name, schema]) => [
      [place + name, defaultText(schema)] as const,
      ...defaultsOf(infoOf(schema).inner ?? {}, `${name}.`),
    ]),
  );
}

const stages = Object.keys(schemasByStage);
const defaults = new Map(Object.entries(schemasByStage).map(([stage, { shape }]) => [stage, defaultsOf(shape)]));

/** The rows of a table of options, and the stages that it is for. */
interface Table {
  stages: readonly string[];
  rows: Defaults;
}

/** Returns the tables of options in a text. The line before a table names its stages in code. Without names it is for all stages. */
function tablesOf(text: string): Table[] {
  return [...text.matchAll(/^(.+):\n\n\| option \| default \|.*\n\|.*\n((?:\|.*\n)+)/gm)].map(([, line, body]) => {
    const named = [...line!.matchAll(/`(\w+)`/g)].map(([, stage]) => stage!);
    const cells = body!.split("\n").map((row) => row.split("|").map((cell) => cell.trim().replaceAll("`", "")));
    const rows = cells.filter((row) => row.length > 1).map(([, option, standard]) => [option!, standard!] as const);
    return { stages: named.length > 0 ? named : stages, rows: new Map(rows) };
  });
}

const page = readFileSync(guide, "utf8").replaceAll("\r\n", "\n");
const [prose, reference] = page.split(/^## All options$/m);
// A table for fewer stages comes later, so that its rows replace those for more.
const tables = tablesOf(reference!).sort((a, b) => b.stages.length - a.stages.length);

test("the tables of docs/training.md match the options in the code", async () => {
  const message = "The options changed. Run `npm run options` and commit docs/training.md.";
  expect(page, message).toBe(withTables(page, await optionTables()));
});

test("every table of options is for stages that exist", () => {
  expect(tables.length).toBeGreaterThan(stages.length);
  expect(tables.flatMap((table) => table.stages).filter((stage) => !stages.includes(stage))).toEqual([]);
});

test.each(stages)("docs/training.md has exactly the options of %s, each with its default", (stage) => {
  const rows = tables.filter((table) => table.stages.includes(stage)).flatMap((table) => [...table.rows]);
  expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(defaults.get(stage)!));
});

test("every default in the text of docs/training.md is that of a stage", () => {
  const said = [...prose!.matchAll(/`(\w+)`(?: \w+)? \((?:default )?`?([\d.]+|"\w+")`?\)/g)];
  expect(said.length).toBeGreaterThan(5);
  const wrong = said.filter(([, option, value]) =>
    [...defaults.values()].every((of) => of.get(option!) !== value!.replaceAll('"', "")),
  );
  expect(wrong.map(([text]) => text)).toEqual([]);
});
