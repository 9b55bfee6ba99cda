// Parameter groups: which parameters they match, their effect on a step, and their role when resuming.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openWeights } from "../../../lib/formats/weights.ts";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import type { ParameterGroup } from "../../../lib/train/options/optimizer-options.ts";
import { groupParameters } from "../../../lib/train/options/parameter-groups.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { stageSchemas } from "./stage-schemas.ts";

const names = [
  "model.embed_tokens.weight",
  ...[1, 11].flatMap((i) =>
    ["self_attn.q_proj.weight", "self_attn.q_proj.bias", "input_layernorm.weight"].map((n) => `model.layers.${i}.${n}`),
  ),
  "model.norm.weight",
  "lm_head.weight",
];

describe("match", () => {
  const layer = (i: number) => names.filter((name) => name.includes(`layers.${i}.`));
  test.each<[string, ParameterGroup["match"], string[]]>([
    ["part of a name, but not part of a number or word", "layers.1", layer(1)],
    ["a part in the middle of a name", "q_proj", names.filter((name) => name.includes("q_proj"))],
    ["a part at the end of a name", "q_proj.bias", [names[2]!, names[5]!]],
    ["a word, but not longer words that end with it", "norm", ["model.norm.weight"]],
    ["a whole name", "lm_head.weight", ["lm_head.weight"]],
    ["a regular expression", /norm\.weight$/, names.filter((name) => /norm\.weight$/.test(name))],
    ["a regular expression with the flag g", /layers/g, [...layer(1), ...layer(11)]],
    ["a regular expression in a string, as in JSON", "/LAYERS\\.1\\d/i", layer(11)],
    ["a function", (name) => name.length < 15, ["lm_head.weight"]],
    ["any of several matches", ["embed_tokens", /head/], ["model.embed_tokens.weight", "lm_head.weight"]],
  ])("selects parameters by %s", (_, match, expected) => {
    const { groups, trained } = groupParameters([{ match, freeze: true }], names);
    expect([...groups[0]!.names]).toEqual(expected);
    expect(trained).toEqual(names.filter((name) => !expected.includes(name)));
  });

  test("assigns a parameter to the first group that matches it", () => {
    const { groups } = groupParameters(
      [
        { match: "bias", weightDecay: 0 },
        { match: "layers.1", learningRateRatio: 0.5 },
        { match: /./, weightDecay: 0.1 },
      ],
      names,
    );
    expect(groups.map((one) => one.names.size)).toEqual([2, 2, names.length - 4]);
    expect([...groups[1]!.names]).toEqual([names[1], names[3]]);
  });

  test.each<[ParameterGroup[], string]>([
    [
      [{ match: "embed_token", freeze: true }],
      "parameterGroups.0.match: expected names of parameters that the run trains (nearest: embed_tokens), got embed_token, which no parameter has",
    ],
    [
      [{ match: ["layers.12", "mlp.down"], freeze: true }],
      "parameterGroups.0.match: expected names of parameters that the run trains (nearest: layers.1), got layers.12 | mlp.down, which no parameter has",
    ],
    [
      [{ match: /xyz/, freeze: true }],
      "parameterGroups.0.match: expected names of parameters that the run trains (such as model.embed_tokens.weight, model.layers.11.self_attn.q_proj.weight, lm_head.weight), got /xyz/, which no parameter has",
    ],
    [
      [
        { match: /./, weightDecay: 0 },
        { match: "bias", weightDecay: 1 },
      ],
      "parameterGroups.1.match: expected a parameter that no earlier group has, got bias",
    ],
    [
      [{ match: "score", learningRateRatio: 10 }],
      "parameterGroups.0.match: expected parameters that this run trains, such as model.embed_tokens.weight, got score, which has score.weight",
    ],
    [
      [{ match: (() => 1) as never, freeze: true }],
      "parameterGroups.0.match: model.embed_tokens.weight: expected a function that returns true or false, got 1",
    ],
    [[{ match: /./, freeze: true }], "parameterGroups: expected a parameter that is not frozen, got all 9 frozen"],
  ])("rejects %j", (groups, message) => {
    expect(() => groupParameters(groups, names, ["score.weight"])).toThrow(message);
  });
});

describe("the parameterGroups option", () => {
  test("exists in every stage", () => {
    for (const schema of stageSchemas) expect(Object.keys(schema.shape)).toContain("parameterGroups");
  });

  test.each<[unknown, string]>([
    ["embed_tokens", 'parameterGroups: expected an array of objects with match, got "embed_tokens"'],
    [["embed_tokens"], 'parameterGroups.0: expected an object with match, got "embed_tokens"'],
    [[{ match: "" }], "parameterGroups.0.match: expected whole parts of a name between dots"],
    [[{ match: "/(/", freeze: true }], "parameterGroups.0.match: expected whole parts of a name between dots"],
    [[{ match: [], freeze: true }], "parameterGroups.0.match: expected whole parts of a name between dots"],
    [[{ match: 3, freeze: true }], "parameterGroups.0.match: expected whole parts of a name between dots"],
    [[{ match: "a" }], "parameterGroups.0: expected match and learningRate, learningRateRatio, weightDecay or freeze"],
    [
      [{ match: "a", freeze: true, weightDecay: 0 }],
      "parameterGroups.0.weightDecay: expected no weightDecay in a frozen group, got 0",
    ],
    [
      [{ match: "a", learningRate: 1, learningRateRatio: 1 }],
      "parameterGroups.0.learningRateRatio: expected either learningRate or learningRateRatio, got 1",
    ],
    [
      [
        { match: "a", freeze: true },
        { match: "b", learningRateRatio: 0 },
      ],
      "parameterGroups.1.learningRateRatio: expected a number above 0, got 0",
    ],
    [
      [{ match: "a", lr: 1 }],
      "pretrain.parameterGroups.0.lr: expected a known option (nearest: learningRate), got an unknown one",
    ],
    [[{ params: "a" }], "parameterGroups.0.match: expected whole parts of a name between dots"],
  ])("rejects %j", async (parameterGroups, message) => {
    await using base = tinyModel({ tokenizer: await tinyTokenizer() });
    const given = { data: "x.txt", maxSteps: 1, parameterGroups } as PretrainOptions;
    expect((await failureOf(() => pretrain(base, given))).message).toContain(message);
  });
});

/** Pre-trains a new model. Returns its weights before and after, and the losses. */
async function trained(more: Partial<PretrainOptions>, use?: (base: LanguageModel) => unknown) {
  await using base = tinyModel({ tokenizer: await tinyTokenizer() });
  const folder = await temporaryFolder();
  await writeFile(join(folder, "corpus.txt"), sentences.join("\n\n"));
  const before = await weightsOf(base);
  const losses: number[] = [];
  const common = { perDeviceTrainBatchSize: 2, maxSeqLength: 16, lrScheduler: "constant", learningRate: 1e-2 } as const;
  const run = pretrain(base, { data: join(folder, "corpus.txt"), maxSteps: 1, weightDecay: 0, ...common, ...more });
  for await (const event of run) if ("loss" in event) losses.push(event.loss);
  await use?.(base);
  return { before, after: await weightsOf(base), losses };
}

async function weightsOf({ model }: LanguageModel): Promise<Map<string, Float32Array>> {
  const read = model.weightNames.map(async (name) => [name, await model.weight(name).toFloat32()] as const);
  return new Map(await Promise.all(read));
}

/** Returns the L2 norm of a weight's change. */
function moved({ before, after }: Awaited<ReturnType<typeof trained>>, name: string): number {
  return Math.hypot(...after.get(name)!.map((v, i) => v - before.get(name)![i]!));
}

describe("a step", () => {
  test.each(["adamw", "muon"] as const)("%s: each group has its learning rate and its weight decay", async (optim) => {
    // Clipping is off, because the gradient's norm depends on which parameters are frozen.
    const plain = await trained({ optim, maxGradNorm: 0 });
    const grouped = await trained({
      ...{ optim, maxGradNorm: 0 },
      parameterGroups: [
        { match: "layers.0", learningRateRatio: 0.25 },
        { match: "layers.1", learningRate: 2e-2 },
        { match: "model.norm", weightDecay: 3 },
        { match: "embed_tokens", freeze: true },
      ],
    });
    const muon = (name: string) => optim === "muon" && /_proj/.test(name);
    for (const name of plain.after.keys()) {
      const [was, is] = [moved(plain, name), moved(grouped, name)];
      expect(was, name).toBeGreaterThan(0);
      if (name.includes("layers.0.")) expect(is / was, name).toBeCloseTo(0.25, 2);
      else if (name.includes("layers.1.")) expect(is / was, name).toBeCloseTo(muon(name) ? 2e-2 / 0.02 : 2, 2);
      else if (name.includes("embed_tokens")) expect(is, name).toBe(0);
      else if (name === "model.norm.weight")
        for (const [i, w] of plain.before.get(name)!.entries())
          expect(grouped.after.get(name)![i]! - plain.after.get(name)![i]!).toBeCloseTo(-1e-2 * 3 * w, 6);
      else expect(is, name).toBe(was);
    }
  });

  test("groups that repeat the defaults change no bit", async () => {
    const plain = await trained({ maxSteps: 4, weightDecay: 0.1 });
    const grouped = await trained({
      maxSteps: 4,
      weightDecay: 0.1,
      parameterGroups: [
        { match: "layers.0", learningRateRatio: 1 },
        { match: "embed_tokens", weightDecay: 0.1 },
        { match: "norm", weightDecay: 0 },
      ],
    });
    expect(grouped.losses).toEqual(plain.losses);
    expect(grouped.after).toEqual(plain.after);
  });

  test("frozen parameters have no gradients, no moments and no part in the backward pass", async () => {
    await using base = tinyModel();
    const shape = { sequences: 2, sequenceLength: 16, dtype: "f32" as const };
    const sizeOf = async (frozen: string[]) => {
      const given = frozen.map((match) => ({ match, freeze: true }));
      const { trained: names } = groupParameters(given, base.model.languageWeightNames);
      const step = await TrainStep.create(base.model, languageModeling, shape, { names });
      const { arenaBytes, optimizer } = step;
      const state = [...optimizer.gradients.keys(), ...optimizer.moments.keys()];
      step.dispose();
      return { arenaBytes, state };
    };
    const [all, upper] = [await sizeOf([]), await sizeOf(["embed_tokens", "layers.0"])];
    expect(upper.state.some((name) => /embed_tokens|layers\.0/.test(name))).toBe(false);
    expect(upper.state.length).toBeLessThan(all.state.length / 1.5);
    expect(upper.arenaBytes).toBeLessThan(all.arenaBytes);
  });
});

describe("a checkpoint", () => {
  const groups = [
    { match: "embed_tokens", freeze: true },
    { match: /norm/, weightDecay: 0.5 },
    { match: "layers.0", learningRateRatio: 0.5 },
  ];

  test("stores the groups: equal groups resume bit for bit, others are rejected", async () => {
    const outputDir = await temporaryFolder();
    const whole = await trained({ maxSteps: 6, parameterGroups: groups });
    const first = await trained({ maxSteps: 3, parameterGroups: groups, outputDir });
    const weights = await openWeights(join(outputDir, "checkpoint-3", "optimizer.safetensors"));
    expect([...weights.names()].some((name) => name.includes("embed_tokens"))).toBe(false);
    expect([...weights.names()].some((name) => name.includes("lm_head"))).toBe(true);
    weights.close();
    const resumed = (parameterGroups: PretrainOptions["parameterGroups"]) =>
      trained({ maxSteps: 6, outputDir, resume: true, parameterGroups });
    const began =
      "resume: expected the parameterGroups of the resumed run (embed_tokens: 1 parameter, freeze true; /norm/: 5 parameters, weightDecay 0.5; layers.0: 7 parameters, learningRateRatio 0.5), got others";
    for (const [others, told] of [
      [undefined, "none"],
      [groups.slice(0, 2), "embed_tokens: 1 parameter, freeze true; /norm/: 5 parameters, weightDecay 0.5"],
      [[...groups.slice(0, 2), { match: "layers.0", learningRateRatio: 0.25 }], "learningRateRatio 0.25"],
      [[...groups.slice(0, 2), { match: "layers.1", learningRateRatio: 0.5 }], "layers.1: 7 parameters"],
    ] as const) {
      const failure = await failureOf(() => resumed(others as PretrainOptions["parameterGroups"]));
      expect(failure).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining(began) });
      expect(failure.message).toContain(told);
    }
    // These groups select the same parameters in another way.
    const same = [
      { match: /embed/, freeze: true },
      { match: (name: string) => name.includes("norm"), weightDecay: 0.5 },
      { match: "model.layers.0", learningRateRatio: 0.5 },
    ];
    const { losses, after } = await resumed(same);
    expect([...first.losses, ...losses]).toEqual(whole.losses);
    expect(after).toEqual(whole.after);
  });
});

test("groups of an adapter can train B faster than A (LoRA+), or freeze A", async () => {
  const adapted = async (parameterGroups: PretrainOptions["parameterGroups"]) => {
    await using base = tinyModel({ tokenizer: await tinyTokenizer() });
    const data = [{ prompt: "The cat", completion: " saw the sea." }];
    const common = { maxSteps: 2, lora: { r: 2 }, lrScheduler: "constant", adamEpsilon: 1e-12 } as const;
    await sft(base, { data, ...common, parameterGroups });
    const sizes = new Map<string, number>();
    for (const layer of ["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj"])
      for (const part of ["lora_A", "lora_B"]) {
        const values = await base.model.weight(`${layer}.${part}.default`).toFloat32();
        sizes.set(`${layer}.${part}`, Math.hypot(...values));
      }
    return sizes;
  };
  const plain = await adapted(undefined);
  const faster = await adapted([
    { match: "lora_B", learningRateRatio: 16 },
    { match: /lora_A/, freeze: true },
  ]);
  const frozen = await adapted([{ match: "lora_A", freeze: true }]);
  for (const [name, size] of plain)
    if (name.endsWith("lora_B")) expect(faster.get(name)! / size).toBeGreaterThan(8);
    else {
      // A frozen A does not depend on the rate of B.
      expect(faster.get(name)).toBe(frozen.get(name));
      expect(faster.get(name)).not.toBe(size);
    }
  await using base = tinyModel({ tokenizer: await tinyTokenizer() });
  const given = { data: [{ text: "a" }], maxSteps: 1, lora: {}, parameterGroups: [{ match: "lm_head", freeze: true }] };
  expect((await failureOf(() => sft(base, given))).message).toContain(
    "expected parameters that this run trains, such as model.layers.0.self_attn.q_proj.lora_A.default, got lm_head, which has lm_head.weight",
  );
});
