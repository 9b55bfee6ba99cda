// Help on the keys of a stage's configuration file.
import type { z } from "zod";
import {
  adapterTexts,
  groupTexts,
  loraTexts,
  type OptionText,
  replayTexts,
  type StageName,
  stageTexts,
  trainingTexts,
} from "../../train/options/option-texts.ts";
import { parameterGroupSchema, replaySchema } from "../../train/options/options.ts";
import { columns } from "../usage.ts";

type Row = readonly [key: string, about: string];

/** Common options by subject. Options that are in no list are stage-specific, and come first. */
const SECTIONS: readonly (readonly [title: string, keys: readonly string[]])[] = [
  ["LoRA", Object.keys(adapterTexts)],
  [
    "Steps",
    [
      "maxSteps",
      "numTrainEpochs",
      "perDeviceTrainBatchSize",
      "gradientAccumulationSteps",
      "maxSeqLength",
      "gradientCheckpointing",
      "dtype",
      "seed",
      "loggingSteps",
      "skipNonFinite",
      "maxConsecutiveSkips",
      "lossSpikeThreshold",
      "skipLossSpikes",
    ],
  ],
  [
    "Learning rate and optimiser",
    [
      "learningRate",
      "lrScheduler",
      "warmupSteps",
      "warmupRatio",
      "minLearningRateRatio",
      "decaySteps",
      "decayRatio",
      "decayType",
      "weightDecay",
      "maxGradNorm",
      "optim",
      "adamBeta1",
      "adamBeta2",
      "adamEpsilon",
      "muonLearningRate",
      "muonMomentum",
      "muonWeightDecay",
      "parameterGroups",
    ],
  ],
  [
    "Evaluation",
    [
      "evalSteps",
      "evalBatches",
      "evaluate",
      "loadBestModelAtEnd",
      "metricForBestModel",
      "greaterIsBetter",
      "earlyStoppingPatience",
      "earlyStoppingThreshold",
    ],
  ],
  ["Checkpoints", ["saveSteps", "saveTotalLimit", "resume", "allowChangedOptions", "overwriteOutputDir", "saveDtype"]],
  ["Replay of an earlier stage", ["replay"]],
  ["Model card", ["name", "trainingCutoffDate", "licence", "card"]],
];

/** Keys that stand first, whatever the stage. */
const FIRST = ["prompts", "rewards", "data", "evalPrompts", "evalData", "evalFraction"];

/** The keys of a stage's configuration file by what they are about: each with its meaning, its values, and what it is where not given. */
export function stageKeys(stage: StageName, schema: z.ZodObject): string {
  const texts: Readonly<Record<string, OptionText>> = { ...trainingTexts, ...adapterTexts, ...stageTexts[stage] };
  const known = Object.keys(schema.shape);
  const rowsOf = (keys: readonly string[]): Row[] =>
    keys.flatMap((key) => [keyRow(key, texts[key]!, schema.shape[key]!), ...innerRows(key)]);
  const shared = new Set(["outputDir", ...FIRST, ...SECTIONS.flatMap(([, keys]) => keys)]);
  const files: Row[] = [
    ["model", "path of a checkpoint, or the configuration of a new model (required)"],
    ["tokenizer", "tokenizer folder (required for a new model)"],
    // The library can do without: a program has the trained model in its hands.
    ["outputDir", `${trainingTexts.outputDir}; if not set, nothing is saved`],
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

/** The keys inside an option that is an object. */
function innerRows(key: string): Row[] {
  if (key === "lora") return Object.entries(loraTexts).map(([name, text]) => keyRow(`  ${name}`, text));
  if (key === "replay") return schemaRows(replaySchema, replayTexts);
  return key === "parameterGroups" ? schemaRows(parameterGroupSchema, groupTexts) : [];
}

function schemaRows({ shape }: z.ZodObject, texts: Readonly<Record<string, OptionText>>): Row[] {
  return Object.entries(shape).map(([name, field]) => keyRow(`  ${name}`, texts[name]!, field));
}

function keyRow(key: string, text: OptionText, field?: z.core.$ZodType): Row {
  const [meaning, worded] = typeof text === "string" ? [text] : text;
  const { values = "", needed = false, standard } = field ? described(field) : {};
  const otherwise = worded ?? (standard === undefined ? "" : String(standard));
  const standing = needed ? "required" : otherwise && `default${otherwise.includes(" ") ? ":" : ""} ${otherwise}`;
  const more = [values, standing].filter(Boolean).join(", ");
  return [key, more ? `${meaning} (${more})` : meaning];
}

/** Describes the values of a field and its default. */
function described(field: z.core.$ZodType): { values: string; needed: boolean; standard?: unknown } {
  let { def } = field._zod;
  let needed = true;
  let standard: unknown;
  while (def.type === "optional" || def.type === "default" || def.type === "nullable") {
    needed = false;
    if (def.type === "default") standard = (def as z.core.$ZodDefaultDef).defaultValue;
    def = (def as z.core.$ZodOptionalDef).innerType._zod.def;
  }
  return { values: valuesOf(def), needed, standard };
}

function valuesOf(def: z.core.$ZodTypeDef): string {
  if (def.type === "enum") return Object.values((def as z.core.$ZodEnumDef).entries).join("|");
  if (def.type !== "union") return "";
  const kinds = (def as z.core.$ZodUnionDef).options.map((kind) => valuesOf(kind._zod.def));
  return kinds.filter(Boolean).join("|");
}
