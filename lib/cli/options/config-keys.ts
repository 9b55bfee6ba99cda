// Help for the keys of a stage's configuration file.
import type { z } from "zod";
import { fileShape } from "../../train/options/config-file.ts";
import { batchShape, optimizerShape } from "../../train/options/optimizer-options.ts";
import { infoOf, type Shape } from "../../train/options/option.ts";
import { cardShape, checkpointShape, evaluationShape } from "../../train/options/shared-options.ts";
import { adapterShape, epochShape } from "../../train/options/stage-options.ts";
import { trackingShape } from "../../train/options/tracking-options.ts";
import { columns } from "../usage.ts";

type Row = readonly [key: string, about: string];

/** Common options by subject. Options that are in no list are specific to a stage. */
const SECTIONS: readonly (readonly [title: string, keys: readonly string[]])[] = [
  ["LoRA", Object.keys(adapterShape)],
  ["Steps", [...Object.keys({ ...epochShape, ...batchShape }), "lossSpikeThreshold", "skipLossSpikes"]],
  ["Learning rate and optimizer", Object.keys(optimizerShape)],
  ["Evaluation", Object.keys(evaluationShape)],
  ["Checkpoints", Object.keys(checkpointShape)],
  ["Trackers", Object.keys(trackingShape)],
  ["Replay of an earlier stage", ["replay"]],
  ["Model card", Object.keys(cardShape)],
];

/** The first section lists these keys before the keys that only this stage has. Only the keys of `fileShape` and outputDir precede them. */
const FIRST = ["prompts", "rewards", "data", "evalPrompts", "evalData", "evalFraction"];

/**
 * Returns help for the keys of a stage's configuration file, by subject: each key with its meaning, values and default.
 */
export function stageKeys({ shape }: z.ZodObject): string {
  const known = Object.keys(shape);
  const rowsOf = (keys: readonly string[]): Row[] =>
    keys.flatMap((key) => [keyRow(key, shape[key]!), ...innerRows(infoOf(shape[key]!).inner)]);
  const shared = new Set(["outputDir", ...FIRST, ...SECTIONS.flatMap(([, keys]) => keys)]);
  const files: Row[] = [
    ...Object.entries(fileShape).map(([key, field]): Row => [key, infoOf(field).help]),
    // The command loses a model that is not saved. A program that calls the library still has the model in memory, so the
    // option's own help does not mention this.
    ["outputDir", `${infoOf(shape.outputDir!).help}; if not set, nothing is saved`],
  ];
  const own = [...FIRST.filter((key) => known.includes(key)), ...known.filter((key) => !shared.has(key))];
  const sections: [string, Row[]][] = [
    ["Keys of the configuration file, in camelCase or snake_case", [...files, ...rowsOf(own)]],
    ...SECTIONS.map(([title, keys]): [string, Row[]] => [title, rowsOf(keys.filter((key) => known.includes(key)))]),
  ];
  const shown = sections.filter(([, rows]) => rows.length > 0);
  const width = Math.max(...shown.flatMap(([, rows]) => rows.map(([key]) => key.length)));
  return shown.map(([title, rows]) => `${title}:\n${columns(rows, width)}`).join("\n\n");
}

/** Returns rows for the keys inside an option that is an object. */
function innerRows(inner: Shape = {}): Row[] {
  return Object.entries(inner).map(([name, field]) => keyRow(`  ${name}`, field));
}

function keyRow(key: string, field: z.core.$ZodType): Row {
  const { help } = infoOf(field);
  const standard = defaultText(field);
  const isDefault = standard !== "" && standard !== REQUIRED;
  const requirement = isDefault ? `default${standard.includes(" ") ? ":" : ""} ${standard}` : standard;
  const more = [describeField(field).values, requirement].filter(Boolean).join(", ");
  return [key, more ? `${help} (${more})` : help];
}

/** The text in place of a default if an option must be given. */
export const REQUIRED = "required";

/** Returns an option's default as the help shows it. A required option has `required`. An optional one without a default has an empty text. */
export function defaultText(field: z.core.$ZodType): string {
  const { needed, defaultValue } = describeField(field);
  if (needed) return REQUIRED;
  return infoOf(field).otherwise ?? (defaultValue === undefined ? "" : String(defaultValue));
}

/** Describes the values of a field and its default. Several values are separated by `|`. */
export function describeField(field: z.core.$ZodType): { values: string; needed: boolean; defaultValue?: unknown } {
  let { def } = field._zod;
  let needed = true;
  let defaultValue: unknown;
  while (def.type === "optional" || def.type === "default" || def.type === "nullable") {
    needed = false;
    if (def.type === "default") defaultValue = (def as z.core.$ZodDefaultDef).defaultValue;
    def = (def as z.core.$ZodOptionalDef).innerType._zod.def;
  }
  return { values: valuesOf(def), needed, defaultValue };
}

function valuesOf(def: z.core.$ZodTypeDef): string {
  if (def.type === "enum") return Object.values((def as z.core.$ZodEnumDef).entries).join("|");
  if (def.type !== "union") return "";
  const kinds = (def as z.core.$ZodUnionDef).options.map((kind) => valuesOf(kind._zod.def));
  return kinds.filter(Boolean).join("|");
}
