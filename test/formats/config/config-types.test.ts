// Model configurations and model cards exist as schemas, which validate, and as interfaces, which document. The compiler checks here that
// both have the same fields and types. The tests check that each field is documented with its default.
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { z } from "zod";
import { modelConfigSchema, newModelConfig } from "../../../lib/formats/config/config.ts";
import type { ropeScalingSchema } from "../../../lib/formats/config/rope-scaling.ts";
import { type modelCardSchema, parseModelCard } from "../../../lib/formats/model-card.ts";
import type { RopeScaling } from "../../../lib/graph-entry.ts";
import type {
  ClassifierConfig,
  ClassifierConfigInput,
  EmbeddingConfig,
  ModelCard,
  ModelCardInput,
  ModelConfig,
  ModelConfigInput,
} from "../../../lib/index.ts";
import "../../../lib/models/registry.ts";
import { type DocumentedOption, documentedOptions } from "../../helpers/option-documentation.ts";
import type { Same } from "../../helpers/same-type.ts";

type Config = z.infer<typeof modelConfigSchema>;
type ConfigInput = z.input<typeof modelConfigSchema>;
type Needed = "modelType" | "hiddenSize" | "numHiddenLayers";

true satisfies Same<ModelConfig, Config>;
true satisfies Same<ModelConfigInput, Pick<ConfigInput, Needed> & Partial<Omit<ConfigInput, Needed>>>;
true satisfies Same<ClassifierConfig, NonNullable<Config["classifier"]>>;
true satisfies Same<ClassifierConfigInput, NonNullable<ConfigInput["classifier"]>>;
true satisfies Same<EmbeddingConfig, NonNullable<Config["embedding"]>>;
true satisfies Same<{ any: RopeScaling }, { any: z.infer<typeof ropeScalingSchema> }>;
true satisfies Same<ModelCard, z.infer<typeof modelCardSchema>>;
true satisfies Same<ModelCardInput, z.input<typeof modelCardSchema>>;

// The compiler must reject a difference between the types.
// @ts-expect-error: the interface lacks a field
true satisfies Same<Omit<ModelConfig, "swigluLimit">, Config>;
// @ts-expect-error: a nested field has another type
true satisfies Same<ModelCard, Omit<ModelCard, "data"> & { data: { name: string; tokens: number }[] }>;

const written = ["ModelConfigInput", "ModelCardInput", "ClassifierConfigInput"] as const;
const parts = ["ModelCardStage", "ModelCardData", "ModelCardEvaluation"] as const;
const scalings = ["Linear", "Dynamic", "Llama3", "Yarn", "Long", "Factors"].map((kind) => `${kind}RopeScaling`);
const readAlone = ["ModelConfig", "ModelCard", "ClassifierConfig", "EmbeddingConfig", "GenerationConfig"];

/** Configurations with only the required fields, and thus the defaults of all others. */
const standards = {
  ModelConfigInput: newModelConfig({ modelType: "llama", hiddenSize: 64, numHiddenLayers: 2, vocabSize: 90 }, {}),
  ModelCardInput: parseModelCard({ stage: "sft" }),
  ClassifierConfigInput: modelConfigSchema.shape.classifier.parse({ task: "token", labels: ["a"] }) ?? {},
} as const satisfies Record<(typeof written)[number], object>;

const entries = ["index.ts", "graph-entry.ts"].map((name) =>
  fileURLToPath(new URL(`../../../lib/${name}`, import.meta.url)),
);

describe("TypeScript interfaces of configurations and cards", () => {
  let documented: Map<string, DocumentedOption[]>;
  beforeAll(() => {
    documented = documentedOptions(entries, [...written, ...parts, ...scalings, ...readAlone]);
  });

  test.each([...written, ...parts, ...scalings, ...readAlone])("document every field: %s", (name) => {
    const fields = documented.get(name)!.filter((field) => field.name !== "ropeType");
    expect(fields.length).toBeGreaterThan(0);
    expect(fields.filter(({ text }) => text.length < 10).map((field) => field.name)).toEqual([]);
  });

  test.each([...written, ...parts, ...scalings])("document the default of every optional field: %s", (name) => {
    const silent = documented.get(name)!.filter(({ optional, text }) => optional && !/\bDefault\b/.test(text));
    expect(silent.map((field) => field.name)).toEqual([]);
  });

  test.each(written)("document the actual defaults: %s", (name) => {
    const became: Readonly<Record<string, unknown>> = { ...standards[name] };
    const said = documented.get(name)!.flatMap(({ name: field, text }) => {
      const value = /\bDefault ([^:\s].*)\.$/m.exec(text)?.[1];
      return value === undefined ? [] : [[field, JSON.parse(value)] as const];
    });
    expect(said.length).toBeGreaterThan(1);
    expect(Object.fromEntries(said)).toEqual(Object.fromEntries(said.map(([field]) => [field, became[field]])));
  });
});
