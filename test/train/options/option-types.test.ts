// The types of stage options equal the input types of their schemas. Each option has a text that states its default.
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { z } from "zod";
import type { ReplayOptions, TrainOptions, train } from "../../../lib/graph-entry.ts";
import type {
  DpoOptions,
  EvaluateAt,
  GrpoOptions,
  KtoOptions,
  LanguageModel,
  OrpoOptions,
  ParameterGroup,
  PpoOptions,
  PretrainOptions,
  SftOptions,
  SimpoOptions,
  sft,
  TrainClassifierOptions,
  TrainEmbeddingOptions,
  TrainRewardOptions,
} from "../../../lib/index.ts";
import { trainSchema } from "../../../lib/train/loop/train.ts";
import { parameterGroupSchema } from "../../../lib/train/options/optimizer-options.ts";
import { infoOf } from "../../../lib/train/options/option.ts";
import { DEFAULT_SAVE_STEPS } from "../../../lib/train/options/shared-options.ts";
import { replaySchema } from "../../../lib/train/options/text-data.ts";
import { classifySchema } from "../../../lib/train/stages/classify.ts";
import { dpoSchema } from "../../../lib/train/stages/dpo.ts";
import { embedSchema } from "../../../lib/train/stages/embed.ts";
import { grpoSchema } from "../../../lib/train/stages/grpo.ts";
import { ktoSchema } from "../../../lib/train/stages/kto.ts";
import { orpoSchema } from "../../../lib/train/stages/orpo.ts";
import { ppoSchema } from "../../../lib/train/stages/ppo.ts";
import { pretrainSchema } from "../../../lib/train/stages/pretrain.ts";
import { rewardSchema } from "../../../lib/train/stages/reward.ts";
import { sftSchema } from "../../../lib/train/stages/sft.ts";
import { simpoSchema } from "../../../lib/train/stages/simpo.ts";
import { type DocumentedOption, documentedOptions } from "../../helpers/option-documentation.ts";
import type { Same } from "../../helpers/same-type.ts";

type Call = "signal" | "world" | "onWarning";
type Checked<Options, Schema extends z.ZodType> = Same<Omit<Options, Call>, z.input<Schema>>;

const held: [
  Checked<PretrainOptions<unknown>, typeof pretrainSchema>,
  Checked<SftOptions<unknown>, typeof sftSchema>,
  Checked<TrainClassifierOptions<unknown>, typeof classifySchema>,
  Checked<TrainEmbeddingOptions<unknown>, typeof embedSchema>,
  Checked<TrainRewardOptions<unknown>, typeof rewardSchema>,
  Checked<DpoOptions<unknown>, typeof dpoSchema>,
  Checked<KtoOptions<unknown>, typeof ktoSchema>,
  Checked<OrpoOptions<unknown>, typeof orpoSchema>,
  Checked<SimpoOptions<unknown>, typeof simpoSchema>,
  Checked<PpoOptions<unknown>, typeof ppoSchema>,
  Checked<GrpoOptions<unknown>, typeof grpoSchema>,
  Checked<Omit<TrainOptions<unknown>, "about" | "names" | "sequences" | "sequenceLength">, typeof trainSchema>,
  Checked<ReplayOptions, typeof replaySchema>,
  Checked<ParameterGroup, typeof parameterGroupSchema>,
] = [true, true, true, true, true, true, true, true, true, true, true, true, true, true];

/** A difference between interface and schema is a compile error. */
// @ts-expect-error: an option that the interface lacks
const missing: Checked<Omit<SftOptions<unknown>, "packing">, typeof sftSchema> = true;
// @ts-expect-error: an option required in one of them only
const needed: Checked<Omit<SftOptions<unknown>, "seed"> & { seed: number }, typeof sftSchema> = true;
// @ts-expect-error: an option of another type
const other: Checked<Omit<SftOptions<unknown>, "seed"> & { seed?: number | string }, typeof sftSchema> = true;

/** The parameter of `evaluate` is typed, both inline and in a separate function. */
const evaluated = (base: LanguageModel, run: typeof sft, own: typeof train<number, LanguageModel>) => {
  const evaluate = async ({ model }: EvaluateAt) => ({ length: (await model.complete("x")).text.length });
  const options: SftOptions = {
    data: "rows.jsonl",
    evaluate: async ({ model }) => ({ path: model.path?.length ?? 0 }),
  };
  run(base, { data: "rows.jsonl", evaluate: async ({ model }) => ({ a: (await model.complete("x")).text.length }) });
  run(base, { data: "rows.jsonl", evaluate });
  run(base, options);
  return own(base, {} as never, {} as never, { maxSteps: 1, evaluate });
};

/** Rows in memory have the stage's fields and may have others. Files and async iterables are accepted too. */
const fed = (
  base: LanguageModel,
  stages: typeof import("../../../lib/index.ts"),
  rows: AsyncIterable<{ text: string }>,
) => {
  interface Own {
    prompt: string;
    completion: string;
    source: string;
  }
  const own: Own[] = [];
  stages.sft(base, { data: own });
  stages.sft(base, { data: rows });
  stages.sft(base, { data: ["a.jsonl", "b.parquet"], evalData: "c.jsonl" });
  stages.sft(base, { data: [{ messages: [{ role: "user", content: "a" }], id: 3 }, { text: "a" }] });
  stages.kto(base, { data: own.map((row) => ({ ...row, label: true })) });
  stages.dpo(base, { data: [{ prompt: "a", ranked: ["b", ["c", "d"]], margin: 1 }] });
  stages.grpo(base, { prompts: [{ prompt: "a", answer: 4 }], rewards: [] });
  stages.trainClassifier(base, {
    data: [
      { text: "a", label: 1 },
      { text: "a", label: "b", id: 1 },
    ],
  });
  // @ts-expect-error: a misspelt field
  stages.sft(base, { data: [{ promt: "a", completion: "b" }] });
  // @ts-expect-error: a field of another type
  stages.kto(base, { data: [{ prompt: "a", completion: "b", label: "true" }] });
  // @ts-expect-error: rows of another stage
  stages.trainEmbedding(base, { data: rows });
};

const schemas = {
  PretrainOptions: pretrainSchema,
  SftOptions: sftSchema,
  TrainClassifierOptions: classifySchema,
  TrainEmbeddingOptions: embedSchema,
  TrainRewardOptions: rewardSchema,
  DpoOptions: dpoSchema,
  KtoOptions: ktoSchema,
  OrpoOptions: orpoSchema,
  SimpoOptions: simpoSchema,
  PpoOptions: ppoSchema,
  GrpoOptions: grpoSchema,
  TrainOptions: trainSchema,
  ReplayOptions: replaySchema,
  ParameterGroup: parameterGroupSchema,
} as const satisfies Record<string, z.ZodObject>;
const names = Object.keys(schemas) as (keyof typeof schemas)[];

/** Returns a schema's default for an option, or undefined if it has none. */
function standardOf(schema: z.ZodObject, option: string): unknown {
  const field: z.core.$ZodType | undefined = schema.shape[option];
  const { def } = field?._zod ?? {};
  return def?.type === "default" ? (def as z.core.$ZodDefaultDef).defaultValue : undefined;
}

const entries = ["index.ts", "graph-entry.ts"].map((name) =>
  fileURLToPath(new URL(`../../../lib/${name}`, import.meta.url)),
);

describe("documentation of every stage's options", () => {
  let documented: Map<string, DocumentedOption[]>;
  beforeAll(() => {
    documented = documentedOptions(entries, [...names, "LoraOptions", "CorpusPart", "ParameterGroup"]);
  });
  const textOf = (name: string, option: string) => documented.get(name)!.find((one) => one.name === option)!.text;

  test("the compiler checks that each options type equals the input type of its schema", () => {
    expect([...held, missing, needed, other]).not.toContain(false);
    expect([evaluated, fed].map((one) => typeof one)).toEqual(["function", "function"]);
  });

  test.each([...names, "LoraOptions", "CorpusPart", "ParameterGroup"])(
    "%s: every option has a text that states its default",
    (name) => {
      const options = documented.get(name)!;
      expect(options.length).toBeGreaterThan(3);
      expect(options.filter(({ text }) => text.length < 10).map((one) => one.name)).toEqual([]);
      const silent = options.filter(
        ({ optional, text }) => optional && !/\bDefault\b|\bWithout\b|PEFT's name/.test(text),
      );
      expect(silent.map((one) => one.name)).toEqual([]);
    },
  );

  test.each(names)("%s: the documented defaults equal those of the schema", (name) => {
    const wrong = documented.get(name)!.flatMap(({ name: option, text }) => {
      const standard = standardOf(schemas[name], option);
      const said = /\bDefault\s+(\S+)\.(?=\s|$)/.exec(text)?.[1];
      if (standard === undefined) return said === undefined ? [] : [`${option}: the schema has none, got ${said}`];
      return said !== undefined && JSON.parse(said) === standard
        ? []
        : [`${option}: expected ${standard}, got ${said}`];
    });
    expect(wrong).toEqual([]);
  });

  test("the documented learning rates with and without lora are those of the stage", () => {
    for (const name of ["Sft", "TrainReward", "Dpo", "Kto", "Orpo", "Simpo", "Ppo", "Grpo"] as const) {
      const { learningRate } = schemas[`${name}Options`].shape;
      const [weights, lora] = /Default: (\S+); (\S+) with lora\.$/
        .exec(textOf(`${name}Options`, "learningRate"))!
        .slice(1);
      expect(infoOf(learningRate).otherwise, name).toBe(`${lora} with lora, ${weights} without`);
    }
    expect(textOf("SftOptions", "saveSteps")).toContain(`Default: ${DEFAULT_SAVE_STEPS},`);
  });
});
